CREATE MACRO histogram_of(model, layer, neuron, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    h.dataset,
    h.bin,
    -- The two outermost bins are open; the extremes close them.
    greatest(bin_low(h.bin), h.min) AS low,
    least(bin_high(h.bin), h.max) AS high,
    h.count
FROM (
    SELECT
        s.dataset,
        s.min,
        s.max,
        unnest(s.hist_bins) AS bin,
        unnest(s.hist_counts) AS count
    FROM neuron_stats AS s
    WHERE
        s.model = model
        AND s.site = site
        AND s.layer = layer
        AND s.neuron = neuron
        AND (dataset IS NULL OR s.dataset = dataset)
) AS h
ORDER BY h.dataset, h.bin;

COMMENT ON MACRO TABLE histogram_of IS
'Histogram of a neuron, exact counts, empty bins left out: dataset, bin, low, high, count. The first and the last bin end at the smallest and the largest value.';

-- How are a neuron's activations distributed, in bars of equal width?
--
-- The stored histogram has bins that grow with the magnitude, exact counts. Here they are poured into bars of equal
-- width between the smallest and the largest value, spread evenly within each stored bin: the sum is exact, a single
-- bar may be off where the stored bins are wider than the bars.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $bars INTEGER = 50: Number of bars.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7, $bars = 20
WITH stored AS (
    SELECT
        dataset,
        min::DOUBLE AS least_value,
        max::DOUBLE AS largest_value,
        (largest_value - least_value) / $bars AS width,
        unnest(hist_bins)::INTEGER AS bin,
        unnest(hist_counts) AS count
    FROM neuron_stats
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND neuron = $neuron
        AND ($dataset IS NULL OR dataset = $dataset)
),
coded AS (
    SELECT *, CASE WHEN bin >= 512 THEN bin - 512 ELSE 511 - bin END AS code
    FROM stored
),
sized AS (
    SELECT
        *,
        CASE
            WHEN code > 0 THEN pow(2, (code - 1) // 16 - 16) * (1 + (code - 1) % 16 / 16) ELSE 0
        END AS inner_edge,
        CASE
            WHEN code < 511 THEN pow(2, code // 16 - 16) * (1 + code % 16 / 16) ELSE 'inf'::DOUBLE
        END AS outer_edge
    FROM coded
),
edged AS (
    SELECT
        *,
        greatest(CASE WHEN bin >= 512 THEN inner_edge ELSE -outer_edge END, least_value) AS low,
        least(CASE WHEN bin >= 512 THEN outer_edge ELSE -inner_edge END, largest_value) AS high
    FROM sized
),
bars AS (
    SELECT
        dataset,
        width,
        least_value,
        range AS bar,
        least_value + range * width AS bar_from,
        least_value + (range + 1) * width AS bar_to
    FROM (SELECT DISTINCT dataset, width, least_value FROM stored), range($bars)
)
SELECT
    b.dataset,
    b.bar_from,
    b.bar_to,
    sum(e.count * CASE
        WHEN e.high > e.low
            THEN greatest(least(e.high, b.bar_to) - greatest(e.low, b.bar_from), 0) / (e.high - e.low)
        -- All values of the stored bin are one number: it belongs to one bar.
        WHEN b.width = 0 THEN (b.bar = 0)::INTEGER
        ELSE (b.bar = least(floor((e.low - b.least_value) / b.width), $bars - 1))::INTEGER
    END) AS count
FROM bars AS b
JOIN edged AS e USING (dataset)
GROUP BY ALL
ORDER BY b.dataset, b.bar_from;

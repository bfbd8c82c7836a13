CREATE MACRO neuron(model, layer, neuron, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    coalesce(s.model, w.model) AS model,
    s.dataset,
    coalesce(s.site, w.site) AS site,
    coalesce(s.layer, w.layer) AS layer,
    coalesce(s.neuron, w.neuron) AS neuron,
    s.count,
    s.mean,
    sqrt(s.variance) AS standard_deviation,
    s.skewness,
    s.kurtosis,
    s.min,
    s.q010,
    s.q500,
    s.q990,
    s.max,
    s.fraction_active,
    w.w_in_norm,
    w.w_out_norm,
    w.bias,
    w.in_out_cosine,
    w.vocab_kurtosis,
    w.promoted,
    w.suppressed
FROM (
    SELECT t.*
    FROM neuron_stats AS t
    WHERE
        t.model = model
        AND t.site = site
        AND t.layer = layer
        AND t.neuron = neuron
        AND (dataset IS NULL OR t.dataset = dataset)
) AS s
FULL JOIN (
    SELECT t.*
    FROM neuron_weights AS t
    WHERE t.model = model AND t.site = site AND t.layer = layer AND t.neuron = neuron
) AS w ON true
ORDER BY s.dataset;

COMMENT ON MACRO TABLE neuron IS
'What is known of a neuron: its statistics, a row a dataset, with its weights.';

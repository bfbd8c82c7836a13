CREATE MACRO neuron_measures(model, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    m.dataset,
    m.layer,
    m.neuron,
    m.measure.name AS measure,
    m.measure.value AS value
FROM (
    SELECT
        s.dataset,
        s.layer,
        s.neuron,
        unnest([
            {'name': 'mean', 'value': s.mean},
            {'name': 'variance', 'value': s.variance},
            {'name': 'skewness', 'value': s.skewness},
            {'name': 'kurtosis', 'value': s.kurtosis},
            {'name': 'fraction_active', 'value': s.fraction_active},
            {'name': 'max', 'value': s.max},
            {'name': 'w_in_norm', 'value': w.w_in_norm},
            {'name': 'w_out_norm', 'value': w.w_out_norm},
            {'name': 'bias', 'value': w.bias},
            {'name': 'in_out_cosine', 'value': w.in_out_cosine},
            {'name': 'l2_penalty', 'value': w.l2_penalty},
            {'name': 'vocab_mean', 'value': w.vocab_mean},
            {'name': 'vocab_variance', 'value': w.vocab_variance},
            {'name': 'vocab_skewness', 'value': w.vocab_skewness},
            {'name': 'vocab_kurtosis', 'value': w.vocab_kurtosis}
        ]) AS measure
    FROM neuron_stats AS s
    LEFT JOIN neuron_weights AS w
        ON s.model = w.model AND s.site = w.site AND s.layer = w.layer AND s.neuron = w.neuron
    WHERE
        s.model = model
        AND s.site = site
        AND (dataset IS NULL OR s.dataset = dataset)
) AS m
WHERE m.measure.value IS NOT NULL;

COMMENT ON MACRO TABLE neuron_measures IS
'Every statistic of every neuron, a row each: activation statistics of neuron_stats and weight statistics of neuron_weights.';

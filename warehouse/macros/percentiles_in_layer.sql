CREATE MACRO percentiles_in_layer(model, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    m.dataset,
    m.layer,
    m.neuron,
    m.measure,
    m.value,
    100 * percent_rank() OVER (
        PARTITION BY m.dataset, m.layer, m.measure ORDER BY m.value
    ) AS percentile
FROM neuron_measures(model, site := site, dataset := dataset) AS m
ORDER BY m.dataset, m.layer, m.neuron, m.measure;

COMMENT ON MACRO TABLE percentiles_in_layer IS
'Where each statistic of a neuron stands within its layer, from 0 (the smallest) to 100.';

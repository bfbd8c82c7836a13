-- Which neurons has every one of the models?
--
-- Those of the first model with a partner in each other one, every two of them being each other's best partner.
--
-- $models VARCHAR[]: Models.
-- $min_r DOUBLE = 0.0: Correlation that each of the pairs reaches.
-- $site VARCHAR = 'mlp': Hooked place of the first model; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $models = ['demo-a', 'demo-b', 'demo-c'], $min_r = 0.5
SELECT
    dataset,
    layer,
    neuron,
    least_r,
    partner_neurons
FROM matched_in_all($models, min_r := $min_r)
WHERE ($site IS NULL OR site = $site)
    AND ($dataset IS NULL OR dataset = $dataset)
ORDER BY dataset, least_r DESC, layer, neuron;

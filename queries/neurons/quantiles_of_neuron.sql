-- How are a neuron's activations distributed, by quantiles?
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
WITH chosen AS (
    SELECT *
    FROM neuron_stats
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND neuron = $neuron
        AND ($dataset IS NULL OR dataset = $dataset)
)
SELECT
    dataset,
    unnest([0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1])::DOUBLE AS fraction,
    unnest([min, q001, q010, q050, q250, q500, q750, q950, q990, q999, max]) AS value,
    quantile_error AS relative_error
FROM chosen
ORDER BY dataset, fraction;

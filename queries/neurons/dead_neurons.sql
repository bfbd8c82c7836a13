-- Which neurons are never above zero?
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT dataset, layer, neuron, count, mean, sqrt(variance) AS standard_deviation, min, max
FROM neuron_stats
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND fraction_active = 0
ORDER BY dataset, layer, neuron;

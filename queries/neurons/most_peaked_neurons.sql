-- Which neurons have the most peaked, heavy-tailed activations?
--
-- Kurtosis is 3 for a Gaussian; a neuron that is silent on most tokens and loud on few has a large one.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: all of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
SELECT dataset, layer, neuron, kurtosis, skewness, fraction_active, mean, max
FROM neuron_stats
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND kurtosis IS NOT NULL
ORDER BY kurtosis DESC, layer, neuron, dataset
LIMIT $k;

-- Which living neurons are active least often?
--
-- Active means above zero. Neurons that never are have their own question, dead_neurons.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: all of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
SELECT dataset, layer, neuron, fraction_active, max, mean, kurtosis
FROM neuron_stats
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND fraction_active > 0
ORDER BY fraction_active, layer, neuron, dataset
LIMIT $k;

-- Which neurons changed most between two checkpoints?
--
-- Ranked by the change of the mean in standard deviations of the first model.
--
-- $model_a VARCHAR: Earlier model, as in models.model.
-- $model_b VARCHAR: Later model of the same training.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset that both have seen; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model_a = 'demo-a@step400', $model_b = 'demo-a', $k = 10
SELECT
    a.dataset,
    a.layer,
    a.neuron,
    (b.mean - a.mean) / sqrt(a.variance) AS mean_shift,
    sqrt(b.variance / a.variance) AS deviation_ratio,
    b.fraction_active - a.fraction_active AS fraction_active_change,
    b.kurtosis - a.kurtosis AS kurtosis_change
FROM neuron_stats AS a
JOIN neuron_stats AS b USING (dataset, site, layer, neuron)
WHERE a.model = $model_a
    AND b.model = $model_b
    AND a.site = $site
    AND ($layer IS NULL OR a.layer = $layer)
    AND ($dataset IS NULL OR a.dataset = $dataset)
    AND a.variance > 0
ORDER BY abs(mean_shift) DESC, a.layer, a.neuron, a.dataset
LIMIT $k;

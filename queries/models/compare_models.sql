-- How much do the neurons of two models agree in their statistics, layer by layer?
--
-- Neuron i of one is set beside neuron i of the other. That means something for checkpoints of one training; between
-- trainings from different seeds the correlations are near zero, since neurons have no order.
--
-- $model_a VARCHAR: First model, as in models.model.
-- $model_b VARCHAR: Second model.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset that both have seen; NULL: each of them.
--
-- Example: $model_a = 'demo-a', $model_b = 'demo-b'
SELECT
    a.dataset,
    a.layer,
    count(*) AS neurons,
    corr(a.mean, b.mean) AS mean_correlation,
    corr(a.variance, b.variance) AS variance_correlation,
    corr(a.kurtosis, b.kurtosis) AS kurtosis_correlation,
    corr(a.fraction_active, b.fraction_active) AS fraction_active_correlation,
    avg(b.fraction_active - a.fraction_active) AS fraction_active_difference,
    avg(b.kurtosis - a.kurtosis) AS kurtosis_difference
FROM neuron_stats AS a
JOIN neuron_stats AS b USING (dataset, site, layer, neuron)
WHERE a.model = $model_a
    AND b.model = $model_b
    AND a.site = $site
    AND ($dataset IS NULL OR a.dataset = $dataset)
GROUP BY a.dataset, a.layer
ORDER BY a.dataset, a.layer;

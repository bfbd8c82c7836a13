-- Does the input bias explain how often neurons are active, layer by layer?
--
-- Correlations over the neurons of a layer; the norm of the input weights stands beside the bias, since both set
-- how often a neuron crosses zero. Empty for models whose MLP has no bias.
--
-- $model VARCHAR: A model, as in models.model.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    s.dataset,
    s.layer,
    count(*) AS neurons,
    avg(w.bias) AS mean_bias,
    corr(w.bias, s.fraction_active) AS bias_correlation,
    corr(w.w_in_norm, s.fraction_active) AS w_in_norm_correlation
FROM neuron_weights AS w
JOIN neuron_stats AS s USING (model, site, layer, neuron)
WHERE w.model = $model
    AND w.site = $site
    AND ($dataset IS NULL OR s.dataset = $dataset)
    AND w.bias IS NOT NULL
GROUP BY s.dataset, s.layer
ORDER BY s.dataset, s.layer;

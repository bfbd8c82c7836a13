-- What are the statistics of a model's layers, one row a layer?
--
-- $model VARCHAR: A model, as in models.model.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    dataset,
    layer,
    neurons,
    token_count,
    mean,
    sqrt(variance) AS standard_deviation,
    rms,
    min,
    max,
    fraction_active,
    mean_skewness,
    mean_kurtosis,
    dead,
    constant
FROM layer_stats
WHERE model = $model
    AND site = $site
    AND ($dataset IS NULL OR dataset = $dataset)
ORDER BY dataset, layer;

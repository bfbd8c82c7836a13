-- How do two layers of a model differ, one row a measure?
--
-- $model VARCHAR: A model, as in models.model.
-- $layer_a INTEGER: First layer.
-- $layer_b INTEGER: Second layer.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer_a = 0, $layer_b = 3
WITH measured AS (
    SELECT
        dataset,
        layer,
        unnest([
            {measure: 'mean', value: mean},
            {measure: 'standard_deviation', value: sqrt(variance)},
            {measure: 'rms', value: rms},
            {measure: 'max', value: max},
            {measure: 'fraction_active', value: fraction_active},
            {measure: 'mean_skewness', value: mean_skewness},
            {measure: 'mean_kurtosis', value: mean_kurtosis},
            {measure: 'fraction_dead', value: dead / neurons}
        ], recursive := true)
    FROM layer_stats
    WHERE model = $model
        AND site = $site
        AND ($dataset IS NULL OR dataset = $dataset)
)
SELECT
    dataset,
    measure,
    a.value AS layer_a,
    b.value AS layer_b,
    b.value - a.value AS difference,
    b.value / nullif(a.value, 0) AS ratio
FROM measured AS a
JOIN measured AS b USING (dataset, measure)
WHERE a.layer = $layer_a
    AND b.layer = $layer_b
ORDER BY dataset, measure;

-- How are the statistics of universal neurons distributed, and those of the others?
--
-- $model VARCHAR: A model, as in models.model.
-- $threshold DOUBLE = 0.5: Excess correlation that universal neurons exceed.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $models VARCHAR[] = NULL: Models whose comparisons count, the model itself among them; NULL: all.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $threshold = 0.2
WITH marked AS (
    SELECT dataset, layer, neuron, excess > $threshold AS universal
    FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
    WHERE model = $model
        AND site = $site
        AND excess IS NOT NULL
)
SELECT
    dataset,
    measure,
    universal,
    count(*) AS neurons,
    quantile_cont(value, 0.05) AS q05,
    quantile_cont(value, 0.25) AS q25,
    median(value) AS median,
    quantile_cont(value, 0.75) AS q75,
    quantile_cont(value, 0.95) AS q95
FROM neuron_measures($model, site := $site, dataset := $dataset)
JOIN marked USING (dataset, layer, neuron)
GROUP BY dataset, measure, universal
ORDER BY dataset, measure, universal DESC;

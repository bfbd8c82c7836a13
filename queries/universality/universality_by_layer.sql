-- In which layers are the universal neurons?
--
-- Means over partner models, then over live neurons; the share is of all neurons of the layer, dead ones too.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $threshold DOUBLE = 0.5: Excess correlation to exceed.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $threshold = 0.2
SELECT
    dataset,
    model,
    layer,
    count(*) AS neurons,
    avg(max_r) AS mean_max_r,
    avg(baseline) AS mean_baseline,
    avg(excess) AS mean_excess,
    count(*) FILTER (excess > $threshold) / count(*) AS share
FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
WHERE ($site IS NULL OR site = $site)
GROUP BY dataset, model, layer
ORDER BY dataset, model, layer;

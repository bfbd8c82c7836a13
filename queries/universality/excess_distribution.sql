-- How are the largest correlations, their baselines and the excess distributed?
--
-- Counts of live neurons in bins that include their upper end, so that those above an end sum up to the neurons that
-- exceed it. The values are means over partner models. Empty bins have no row.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $width DOUBLE = 0.02: Width of the bins.
-- $by_layer BOOLEAN = false: A distribution for each layer; false: layer is NULL.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $by_layer = true
WITH binned AS (
    -- Rounded, since 0.3 / 0.01 is more than 30 in binary.
    SELECT dataset, model, CASE WHEN $by_layer THEN layer END AS layer, measure.name AS measure,
        ceil(round(measure.value / $width, 9)) AS bin
    FROM (
        SELECT dataset, model, layer, unnest([
            {'name': 'max_r', 'value': max_r},
            {'name': 'baseline', 'value': baseline},
            {'name': 'excess', 'value': excess}
        ]) AS measure
        FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
        WHERE ($site IS NULL OR site = $site)
    )
    WHERE measure.value IS NOT NULL
)
SELECT
    dataset,
    model,
    layer,
    measure,
    (bin - 1) * $width AS low,
    bin * $width AS high,
    count(*) AS neurons,
    count(*) / sum(count(*)) OVER (PARTITION BY dataset, model, layer, measure) AS share
FROM binned
GROUP BY dataset, model, layer, measure, bin
ORDER BY dataset, model, layer, measure, bin;

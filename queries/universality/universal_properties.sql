-- How do universal neurons differ from the others, on every statistic?
--
-- Medians of both, Cohen's d (pooled population variance), and the chance that a universal neuron has the larger
-- value, with the two-sided Mann-Whitney test of it (normal approximation, corrected for ties and continuity).
-- p-values are corrected for the number of statistics by Benjamini and Hochberg. With `$within_layer` the layer's
-- median is taken off first, so that layers that hold more universal neurons do not make the difference.
--
-- $model VARCHAR: A model, as in models.model.
-- $threshold DOUBLE = 0.5: Excess correlation that universal neurons exceed.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $within_layer BOOLEAN = false: Compare with the layer's median taken off.
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
),
measured AS (
    SELECT
        dataset,
        measure,
        universal,
        value - CASE
            WHEN $within_layer THEN median(value) OVER (PARTITION BY dataset, layer, measure)
            ELSE 0
        END AS value
    FROM neuron_measures($model, site := $site, dataset := $dataset)
    JOIN marked USING (dataset, layer, neuron)
),
ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY dataset, measure ORDER BY value) AS lowest_rank,
        count(*) OVER (PARTITION BY dataset, measure, value) AS ties
    FROM measured
),
summed AS (
    SELECT
        dataset,
        measure,
        count(*) FILTER (universal) AS n,
        count(*) FILTER (NOT universal) AS others,
        median(value) FILTER (universal) AS universal_median,
        median(value) FILTER (NOT universal) AS other_median,
        avg(value) FILTER (universal) - avg(value) FILTER (NOT universal) AS difference,
        var_pop(value) FILTER (universal) AS spread,
        var_pop(value) FILTER (NOT universal) AS other_spread,
        sum(lowest_rank + (ties - 1) / 2) FILTER (universal) - n * (n + 1) / 2 AS u,
        sum(ties * ties - 1.0) AS tied
    FROM ranked
    GROUP BY dataset, measure
    HAVING n > 0 AND others > 0
),
tested AS (
    SELECT
        *,
        sqrt(n * others / 12 * (n + others + 1 - tied / ((n + others) * (n + others - 1)))) AS sd,
        least(1, 2 * normal_tail(
            (abs(u - n * others / 2) - 0.5) / nullif(sd, 0)
        )) AS p
    FROM summed
)
SELECT
    dataset,
    measure,
    n AS universal,
    others,
    universal_median,
    other_median,
    difference / sqrt(nullif((n * spread + others * other_spread) / (n + others), 0)) AS cohens_d,
    u / (n * others) AS chance_larger,
    p,
    min(p * measures / place) OVER (
        PARTITION BY dataset ORDER BY place DESC ROWS UNBOUNDED PRECEDING
    ) AS p_corrected
FROM (
    SELECT
        *,
        count(*) OVER (PARTITION BY dataset) AS measures,
        row_number() OVER (PARTITION BY dataset ORDER BY p, measure) AS place
    FROM tested
)
ORDER BY dataset, p, measure;

-- Do predictions depend on universal neurons more than on random ones?
--
-- Universal neurons, whose excess correlation is above the threshold, beside the random neurons of the experiment
-- that are not: means and medians of their effects, the standardised difference (Cohen's d, pooled population
-- variance), and the chance that a universal neuron has the larger effect, with the two-sided Mann-Whitney test of it
-- (normal approximation, corrected for ties and continuity). `size` compares the magnitudes of changes of the loss.
-- Wants a comparison with baselines, and an ablation of single neurons with controls.
--
-- $threshold DOUBLE = 0.5: Excess correlation that universal neurons exceed.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $model VARCHAR = NULL: A model, as in models.model; NULL: each of them.
-- $experiment VARCHAR = NULL: Name of an experiment; NULL: each of them.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset of both; NULL: each of them.
--
-- Example: $threshold = 0.2
WITH marked AS (
    SELECT DISTINCT
        e.experiment,
        e.model,
        e.dataset,
        e.layer,
        e.neuron,
        x.excess > $threshold AS universal,
        e.loss_change,
        e.entropy_change,
        e.rank_change,
        e.log_rank_change,
        e.kl
    FROM effects AS e
    JOIN excess_correlation(kind := $kind, dataset := $dataset) AS x
        USING (model, dataset, site, layer, neuron)
    WHERE e.site = $site
        AND ($model IS NULL OR e.model = $model)
        AND ($experiment IS NULL OR e.experiment = $experiment)
        AND x.excess IS NOT NULL
        AND (e.control > 0 OR x.excess > $threshold)
),
measured AS (
    SELECT
        experiment,
        model,
        dataset,
        universal,
        unnest([
            {measure: 'loss', place: 1, effect: loss_change},
            {measure: 'size', place: 2, effect: abs(loss_change)},
            {measure: 'entropy', place: 3, effect: entropy_change},
            {measure: 'rank', place: 4, effect: rank_change},
            {measure: 'log_rank', place: 5, effect: log_rank_change},
            {measure: 'kl', place: 6, effect: kl}
        ], recursive := true)
    FROM marked
),
ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY experiment, model, dataset, measure ORDER BY effect)
            AS lowest_rank,
        count(*) OVER (PARTITION BY experiment, model, dataset, measure, effect) AS ties
    FROM measured
    WHERE effect IS NOT NULL
),
summed AS (
    SELECT
        experiment,
        model,
        dataset,
        measure,
        any_value(place) AS place,
        count(*) FILTER (universal) AS n,
        count(*) FILTER (NOT universal) AS others,
        avg(effect) FILTER (universal) AS universal_mean,
        avg(effect) FILTER (NOT universal) AS random_mean,
        median(effect) FILTER (universal) AS universal_median,
        median(effect) FILTER (NOT universal) AS random_median,
        var_pop(effect) FILTER (universal) AS spread,
        var_pop(effect) FILTER (NOT universal) AS other_spread,
        sum(lowest_rank + (ties - 1) / 2) FILTER (universal) - n * (n + 1) / 2 AS u,
        sum(ties * ties - 1.0) AS tied
    FROM ranked
    GROUP BY experiment, model, dataset, measure
    HAVING n > 0 AND others > 0
)
SELECT
    experiment,
    model,
    dataset,
    measure,
    n AS universal,
    others AS random,
    universal_mean,
    random_mean,
    universal_median,
    random_median,
    (universal_mean - random_mean)
        / sqrt(nullif((n * spread + others * other_spread) / (n + others), 0)) AS cohens_d,
    u / (n * others) AS chance_larger,
    least(1, 2 * normal_tail(
        (abs(u - n * others / 2) - 0.5)
        / nullif(sqrt(n * others / 12 * (n + others + 1 - tied / ((n + others) * (n + others - 1)))), 0)
    )) AS p
FROM summed
ORDER BY experiment, model, dataset, place;

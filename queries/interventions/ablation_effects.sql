-- How strong is the effect of each ablated neuron beside that of random neurons of its layer?
--
-- A single neuron stands beside all random neurons of its layer in the experiment, a group beside those drawn for
-- it: their mean and standard deviation (n - 1), its effect less their mean in such deviations, and the share of them
-- with a smaller effect. Largest standardised effects come first, of either sign; fewer than some ten controls leave
-- the deviation vague.
--
-- $measure VARCHAR = 'loss': What changes: loss, entropy, rank, log_rank or kl; means over tokens.
-- $model VARCHAR = NULL: A model, as in models.model; NULL: each of them.
-- $experiment VARCHAR = NULL: Name of an experiment; NULL: each of them.
-- $site VARCHAR = NULL: Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 50: Rows at most.
--
-- Example: $measure = 'kl', $model = 'demo-a'
WITH measured AS (
    SELECT
        *,
        CASE $measure
            WHEN 'loss' THEN loss_change
            WHEN 'entropy' THEN entropy_change
            WHEN 'rank' THEN rank_change
            WHEN 'log_rank' THEN log_rank_change
            WHEN 'kl' THEN kl
            ELSE error('measure is loss, entropy, rank, log_rank or kl, not ' || $measure)
        END AS effect,
        CASE $measure
            WHEN 'loss' THEN loss_change_se
            WHEN 'entropy' THEN entropy_change_se
            WHEN 'rank' THEN rank_change_se
            WHEN 'log_rank' THEN log_rank_change_se
            ELSE kl_se
        END AS effect_se
    FROM effects
    WHERE ($model IS NULL OR model = $model)
        AND ($experiment IS NULL OR experiment = $experiment)
        AND ($site IS NULL OR site = $site)
        AND ($dataset IS NULL OR dataset = $dataset)
),
drawn AS (
    -- A neuron may have been drawn beside several.
    SELECT DISTINCT experiment, model, dataset, site, neurons, layer, effect,
        if(layer IS NULL, unit, NULL) AS unit
    FROM measured
    WHERE control > 0
),
beside AS (
    SELECT
        m.experiment,
        m.model,
        m.dataset,
        m.site,
        m.unit,
        m.grp,
        m.layer,
        m.neuron,
        m.mode,
        m.n,
        m.effect,
        m.effect_se,
        count(d.effect) AS controls,
        avg(d.effect) AS control_mean,
        stddev_samp(d.effect) AS control_sd,
        count(*) FILTER (d.effect < m.effect) / nullif(controls, 0) AS share_below
    FROM measured AS m
    LEFT JOIN drawn AS d
        ON d.experiment = m.experiment
        AND d.model = m.model
        AND d.dataset = m.dataset
        AND d.site = m.site
        AND (d.layer = m.layer OR (m.layer IS NULL AND d.unit = m.unit))
    WHERE m.control = 0
    GROUP BY ALL
)
SELECT
    experiment,
    model,
    dataset,
    site,
    grp,
    layer,
    neuron,
    mode,
    n,
    effect,
    effect_se,
    controls,
    control_mean,
    control_sd,
    (effect - control_mean) / nullif(control_sd, 0) AS standardised_effect,
    share_below
FROM beside
ORDER BY
    abs(standardised_effect) DESC NULLS LAST, experiment, model, dataset, site, unit
LIMIT $k;

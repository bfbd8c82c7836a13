-- How universal are the neurons of each model, beside which baseline?
--
-- Means over partner models, then over live neurons; shares, one a threshold, are of all neurons, dead ones too.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $thresholds DOUBLE[] = [0.2, 0.3, 0.5]: Excess correlations to exceed.
-- $kind VARCHAR = NULL: Random basis of the baseline: gaussian, orthogonal or standardised; NULL: each of them.
-- $site VARCHAR = 'mlp': Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $kind = 'gaussian'
WITH each AS (
    SELECT m.dataset, m.model, b.kind, m.layer, m.neuron, bool_and(m.state = 'dead') AS dead,
        bool_and(m.state = 'overflow') AS overflowing, count(*) AS partner_models,
        avg(m.max_r) FILTER (b.mean IS NOT NULL) AS max_r, avg(b.mean) AS baseline,
        avg(m.max_r - b.mean) AS excess
    FROM neuron_matches AS m
    JOIN neuron_baseline AS b
        USING (model, dataset, site, layer, neuron, partner_model, partner_site)
    WHERE ($site IS NULL OR m.site = $site)
        AND ($kind IS NULL OR b.kind = $kind)
        AND ($dataset IS NULL OR m.dataset = $dataset)
        AND ($models IS NULL
            OR list_contains($models, m.model) AND list_contains($models, m.partner_model))
    GROUP BY ALL
)
SELECT
    e.dataset,
    e.model,
    e.kind,
    max(e.partner_models) AS partner_models,
    count(*) AS neurons,
    count(*) FILTER (e.dead) AS dead,
    count(*) FILTER (e.overflowing) AS overflowing,
    avg(e.max_r) AS mean_max_r,
    avg(e.baseline) AS mean_baseline,
    avg(e.excess) AS mean_excess,
    list_transform(
        $thresholds,
        lambda t: len(list_filter(list(e.excess), lambda x: x > t)) / count(*)
    ) AS shares
FROM each AS e
LEFT JOIN models AS o ON o.model = e.model
GROUP BY e.dataset, e.model, e.kind, o.name, o.step
ORDER BY e.dataset, e.kind, coalesce(o.name, e.model), o.step NULLS LAST, e.model;

-- How does universality grow in training?
--
-- Excess correlation of a model's revisions, by training step, with other models. Wants a comparison that has the
-- revisions among its models.
--
-- $model VARCHAR: A model without its revision, as in models.name.
-- $partner VARCHAR = NULL: Partner model; NULL: the mean over all that are no revisions of the model itself.
-- $threshold DOUBLE = 0.2: Excess correlation to exceed.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    dataset,
    model,
    step,
    avg(max_r) AS mean_max_r,
    avg(baseline) AS mean_baseline,
    avg(excess) AS mean_excess,
    100 * count(*) FILTER (excess > $threshold) / count(*) AS percent_above
FROM (
    SELECT m.dataset, m.model, o.step, m.layer, m.neuron, avg(m.max_r) AS max_r,
        avg(b.mean) AS baseline, avg(m.max_r - b.mean) AS excess
    FROM neuron_matches AS m
    JOIN neuron_baseline AS b
        USING (model, dataset, site, layer, neuron, partner_model, partner_site)
    JOIN models AS o ON o.model = m.model
    JOIN models AS p ON p.model = m.partner_model
    WHERE o.name = $model
        AND b.kind = $kind
        AND m.site = $site
        AND CASE WHEN $partner IS NULL THEN p.name <> $model ELSE p.model = $partner END
        AND ($dataset IS NULL OR m.dataset = $dataset)
    GROUP BY ALL
)
GROUP BY dataset, model, step
ORDER BY dataset, step NULLS LAST, model;

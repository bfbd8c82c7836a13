-- Which models were compared with which, on what, and beside which baselines?
--
-- Checkpoints of a training come in its order. Imported correlations have no baselines.
--
-- $site VARCHAR = NULL: Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $site = 'mlp'
SELECT
    m.dataset,
    m.site,
    m.model,
    any_value(o.step) AS step,
    list(DISTINCT m.partner_model ORDER BY m.partner_model) AS partners,
    max(m.n) AS n,
    coalesce(list(DISTINCT b.kind ORDER BY b.kind) FILTER (b.kind IS NOT NULL), []) AS kinds,
    list(DISTINCT m.run ORDER BY m.run) AS runs
FROM neuron_matches AS m
LEFT JOIN neuron_baseline AS b
    USING (model, dataset, site, layer, neuron, partner_model, partner_site)
LEFT JOIN models AS o ON o.model = m.model
WHERE ($site IS NULL OR m.site = $site)
    AND ($dataset IS NULL OR m.dataset = $dataset)
GROUP BY m.dataset, m.site, m.model
ORDER BY m.dataset, m.site, coalesce(any_value(o.name), m.model), step NULLS LAST, m.model;

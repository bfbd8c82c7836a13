-- Which models were compared with which, on what, and beside which baselines?
--
-- Checkpoints of a training come in its order. Imported correlations have no baselines.
--
-- $site VARCHAR = NULL: Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $site = 'mlp'
SELECT
    c.dataset,
    c.site,
    c.model,
    o.step,
    c.partners,
    c.n,
    coalesce(b.kinds, []) AS kinds,
    c.runs
FROM (
    SELECT dataset, site, model, list(DISTINCT partner_model ORDER BY partner_model) AS partners,
        max(n) AS n, list(DISTINCT run ORDER BY run) AS runs
    FROM neuron_matches
    GROUP BY ALL
) AS c
LEFT JOIN (
    SELECT dataset, site, model, list(DISTINCT kind ORDER BY kind) AS kinds
    FROM neuron_baseline
    GROUP BY ALL
) AS b USING (dataset, site, model)
LEFT JOIN models AS o ON o.model = c.model
WHERE ($site IS NULL OR c.site = $site)
    AND ($dataset IS NULL OR c.dataset = $dataset)
ORDER BY c.dataset, c.site, coalesce(o.name, c.model), o.step NULLS LAST, c.model;

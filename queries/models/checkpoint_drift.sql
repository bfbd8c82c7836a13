-- How do a model's layers change over its checkpoints?
--
-- Checkpoints are the models of one name; they come in the order of their step, the one without a step last. The
-- columns that end in _change are differences from the checkpoint before.
--
-- $name VARCHAR: Name without revision, as in models.name.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $name = 'demo-a'
SELECT
    s.dataset,
    s.layer,
    m.model,
    m.step,
    s.rms,
    s.rms - lag(s.rms) OVER earlier AS rms_change,
    s.fraction_active,
    s.fraction_active - lag(s.fraction_active) OVER earlier AS fraction_active_change,
    s.mean_kurtosis,
    s.mean_kurtosis - lag(s.mean_kurtosis) OVER earlier AS mean_kurtosis_change,
    s.dead
FROM layer_stats AS s
JOIN models AS m USING (model)
WHERE m.name = $name
    AND s.site = $site
    AND ($dataset IS NULL OR s.dataset = $dataset)
WINDOW earlier AS (PARTITION BY s.dataset, s.layer ORDER BY m.step NULLS LAST, m.model)
ORDER BY s.dataset, s.layer, m.step NULLS LAST, m.model;

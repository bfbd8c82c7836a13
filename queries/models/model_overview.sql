-- Which models are in the warehouse, and what is known of each?
--
-- Example:
WITH recorded AS (
    SELECT model, list(DISTINCT site ORDER BY site) AS sites
    FROM sites
    GROUP BY model
),
measured AS (
    SELECT model, list(DISTINCT dataset ORDER BY dataset) AS datasets
    FROM layer_stats
    GROUP BY model
)
SELECT
    model,
    family,
    step,
    parameters,
    layers,
    d_model,
    d_mlp,
    activation,
    gated,
    sites,
    datasets
FROM models
LEFT JOIN recorded USING (model)
LEFT JOIN measured USING (model)
ORDER BY name, step NULLS LAST, model;

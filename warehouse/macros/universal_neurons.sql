CREATE MACRO universal_neurons(
    threshold := 0.5, min_models := 1, kind := 'gaussian', dataset := NULL
) AS TABLE
SELECT
    e.model,
    e.dataset,
    e.site,
    e.layer,
    e.neuron,
    e.partner_models,
    p.above AS partner_models_above,
    e.max_r,
    e.baseline,
    e.excess
FROM excess_correlation(kind := kind, dataset := dataset) AS e
INNER JOIN (
    SELECT
        m.model,
        m.dataset,
        m.site,
        m.layer,
        m.neuron,
        count(*) FILTER (m.max_r - b.mean > threshold) AS above
    FROM neuron_matches AS m
    INNER JOIN neuron_baseline AS b
        ON m.model = b.model
        AND m.dataset = b.dataset
        AND m.site = b.site
        AND m.layer = b.layer
        AND m.neuron = b.neuron
        AND m.partner_model = b.partner_model
        AND m.partner_site = b.partner_site
    WHERE b.kind = kind
    GROUP BY ALL
) AS p
    ON e.model = p.model
    AND e.dataset = p.dataset
    AND e.site = p.site
    AND e.layer = p.layer
    AND e.neuron = p.neuron
WHERE e.excess > threshold AND p.above >= min_models
ORDER BY e.excess DESC, e.model, e.dataset, e.site, e.layer, e.neuron;

COMMENT ON MACRO TABLE universal_neurons IS
'Neurons whose excess correlation is above the threshold, in the mean over partner models and in at least min_models of them by itself.';

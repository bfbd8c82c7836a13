CREATE MACRO excess_correlation(kind := 'gaussian', dataset := NULL, models := NULL) AS TABLE
SELECT
    m.model,
    m.dataset,
    m.site,
    m.layer,
    m.neuron,
    m.state,
    count(b.mean) AS partner_models,
    avg(m.max_r) FILTER (b.mean IS NOT NULL) AS max_r,
    avg(b.mean) AS baseline,
    avg(m.max_r - b.mean) AS excess,
    min(m.max_r - b.mean) AS least_excess
FROM neuron_matches AS m
INNER JOIN neuron_baseline AS b
    ON m.model = b.model
    AND m.dataset = b.dataset
    AND m.site = b.site
    AND m.layer = b.layer
    AND m.neuron = b.neuron
    AND m.partner_model = b.partner_model
    AND m.partner_site = b.partner_site
WHERE
    b.kind = CASE
        WHEN kind IN ('gaussian', 'orthogonal', 'standardised') THEN kind
        ELSE error('kind is gaussian, orthogonal or standardised, not ' || kind)
    END
    AND (dataset IS NULL OR m.dataset = dataset)
    AND (models IS NULL OR list_contains(models, m.model) AND list_contains(models, m.partner_model))
GROUP BY ALL
ORDER BY m.model, m.dataset, m.site, m.layer, m.neuron;

COMMENT ON MACRO TABLE excess_correlation IS
'How much better each neuron is matched in other models than by chance of the basis: the mean over partner models of its largest correlation less the mean largest with the partner''s layers rotated (Gurnee et al., arXiv 2401.12181). NULL for neurons that are not live. With a list of models, only those are compared.';

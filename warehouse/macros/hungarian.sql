CREATE MACRO hungarian(
    model, partner_model, layer := NULL, partner_layer := NULL, absolute := false,
    site := NULL, dataset := NULL
) AS TABLE
SELECT
    m.dataset,
    m.site,
    m.layer,
    m.neuron,
    m.partner_site,
    m.partner_layer,
    m.partner_neuron,
    m.r
FROM matchings AS m
WHERE
    m.model = model
    AND m.partner_model = partner_model
    AND m.method = CASE WHEN absolute THEN 'hungarian_absolute' ELSE 'hungarian' END
    AND (layer IS NULL OR m.layer = layer)
    AND (partner_layer IS NULL OR m.partner_layer = partner_layer)
    AND (site IS NULL OR m.site = site)
    AND (dataset IS NULL OR m.dataset = dataset)
ORDER BY m.dataset, m.site, m.layer, m.partner_layer, m.neuron;

COMMENT ON MACRO TABLE hungarian IS
'The stored one-to-one matchings of layers with the largest sum of correlations (or magnitudes): keep.matchings of a comparison names them.';

CREATE MACRO mutual_nearest(
    model, partner_model, ranked_by := 'signed', site := NULL, dataset := NULL
) AS TABLE
SELECT
    a.dataset,
    a.site,
    a.layer,
    a.neuron,
    a.partner_site,
    a.partner_layer,
    a.partner_neuron,
    a.r
FROM neuron_pairs AS a
INNER JOIN neuron_pairs AS b
    ON a.dataset = b.dataset
    AND a.model = b.partner_model
    AND a.partner_model = b.model
    AND a.site = b.partner_site
    AND a.partner_site = b.site
    AND a.layer = b.partner_layer
    AND a.neuron = b.partner_neuron
    AND a.partner_layer = b.layer
    AND a.partner_neuron = b.neuron
    AND a.ranked_by = b.ranked_by
WHERE
    a.rank = 1
    AND b.rank = 1
    AND a.model = model
    AND a.partner_model = partner_model
    AND a.ranked_by = CASE
        WHEN ranked_by IN ('signed', 'absolute') THEN ranked_by
        ELSE error('ranked_by is signed or absolute, not ' || ranked_by)
    END
    AND (site IS NULL OR a.site = site)
    AND (dataset IS NULL OR a.dataset = dataset)
ORDER BY a.dataset, a.site, a.layer, a.neuron;

COMMENT ON MACRO TABLE mutual_nearest IS
'Pairs of neurons of two models that are each other''s best partner among all layers.';

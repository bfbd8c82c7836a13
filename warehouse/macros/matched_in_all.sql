CREATE MACRO matched_in_all(models, min_r := 0.0, ranked_by := 'signed', site := NULL) AS TABLE
WITH
best AS (
    SELECT p.*
    FROM neuron_pairs AS p
    WHERE
        p.rank = 1
        AND p.ranked_by = ranked_by
        AND (site IS NULL OR p.site = site)
        AND list_contains(models, p.model)
        AND list_contains(models, p.partner_model)
),

mutual AS (
    SELECT a.*
    FROM best AS a
    INNER JOIN best AS b
        ON a.dataset = b.dataset
        AND a.model = b.partner_model
        AND a.partner_model = b.model
        AND a.site = b.partner_site
        AND a.partner_site = b.site
        AND a.layer = b.partner_layer
        AND a.neuron = b.partner_neuron
        AND a.partner_layer = b.layer
        AND a.partner_neuron = b.neuron
    WHERE abs(a.r) >= min_r
),

-- Edges between two partners of one anchor: in a clique there is one for each pair of partners.
sides AS (
    SELECT
        x.dataset,
        x.site,
        x.layer,
        x.neuron,
        count(*) AS edges
    FROM mutual AS x
    INNER JOIN mutual AS y
        ON x.dataset = y.dataset
        AND x.site = y.site
        AND x.model = y.model
        AND x.layer = y.layer
        AND x.neuron = y.neuron
        AND x.partner_model < y.partner_model
    INNER JOIN mutual AS z
        ON x.dataset = z.dataset
        AND x.partner_model = z.model
        AND x.partner_layer = z.layer
        AND x.partner_neuron = z.neuron
        AND y.partner_model = z.partner_model
        AND y.partner_layer = z.partner_layer
        AND y.partner_neuron = z.partner_neuron
    WHERE x.model = models[1]
    GROUP BY ALL
),

anchors AS (
    SELECT
        m.dataset,
        m.site,
        m.layer,
        m.neuron,
        count(*) AS partners,
        min(abs(m.r)) AS least_r,
        list(
            {'model': m.partner_model, 'layer': m.partner_layer, 'neuron': m.partner_neuron, 'r': m.r}
            ORDER BY m.partner_model
        ) AS partner_neurons
    FROM mutual AS m
    WHERE m.model = models[1]
    GROUP BY ALL
)

SELECT
    a.dataset,
    a.site,
    models[1] AS model,
    a.layer,
    a.neuron,
    a.least_r,
    a.partner_neurons
FROM anchors AS a
LEFT JOIN sides AS s
    ON a.dataset = s.dataset AND a.site = s.site AND a.layer = s.layer AND a.neuron = s.neuron
WHERE
    a.partners = len(list_distinct(models)) - 1
    AND coalesce(s.edges, 0) = a.partners * (a.partners - 1) / 2
ORDER BY a.least_r DESC, a.dataset, a.site, a.layer, a.neuron;

COMMENT ON MACRO TABLE matched_in_all IS
'Neurons of the first model that have a partner in each other model of the list, every two of them being each other''s best partner: k-way intersections.';

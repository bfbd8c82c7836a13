-- How far do models agree by best partners, by mutual ones, and one to one?
--
-- best: every live neuron's best partner in any layer, which several may share. mutual: those that are each other's
-- best. hungarian (and hungarian_absolute): each layer assigned to the layer that most of its best partners lie in.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $site VARCHAR = 'mlp': Hooked place of the first model; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $models = ['demo-a', 'demo-b']
WITH best AS (
    SELECT *
    FROM neuron_pairs
    WHERE rank = 1
        AND ranked_by = 'signed'
        AND ($dataset IS NULL OR dataset = $dataset)
        AND ($models IS NULL
            OR list_contains($models, model) AND list_contains($models, partner_model))
),
corresponding AS (
    SELECT dataset, model, site, layer, partner_model, partner_site, partner_layer
    FROM best
    GROUP BY dataset, model, site, layer, partner_model, partner_site, partner_layer
    QUALIFY row_number() OVER (
        PARTITION BY dataset, model, site, layer, partner_model, partner_site
        ORDER BY count(*) DESC, partner_layer
    ) = 1
),
matched AS (
    SELECT 'best' AS method, dataset, model, site, partner_model, partner_layer, partner_neuron, r
    FROM best
    UNION ALL
    SELECT 'mutual', a.dataset, a.model, a.site, a.partner_model, a.partner_layer,
        a.partner_neuron, a.r
    FROM best AS a
    JOIN best AS b
        ON a.dataset = b.dataset
        AND a.model = b.partner_model
        AND a.site = b.partner_site
        AND a.layer = b.partner_layer
        AND a.neuron = b.partner_neuron
        AND a.partner_model = b.model
        AND a.partner_site = b.site
        AND a.partner_layer = b.layer
        AND a.partner_neuron = b.neuron
    UNION ALL
    SELECT g.method, g.dataset, g.model, g.site, g.partner_model, g.partner_layer,
        g.partner_neuron, g.r
    FROM corresponding AS c
    LEFT JOIN matchings AS g
        USING (dataset, model, site, layer, partner_model, partner_site, partner_layer)
    WHERE g.method IN ('hungarian', 'hungarian_absolute')
)
SELECT
    dataset,
    model,
    partner_model,
    method,
    count(*) AS neurons,
    count(DISTINCT (partner_layer, partner_neuron)) AS partners,
    avg(r) AS mean_r,
    median(r) AS median_r
FROM matched
WHERE ($site IS NULL OR site = $site)
GROUP BY dataset, model, partner_model, method
ORDER BY dataset, model, partner_model, method;

-- Does each neuron have a partner of its own, or do many share one?
--
-- Best partners may be shared, and so overstate how far two models agree; mutual pairs and Hungarian matchings are
-- one to one. Matchings are of single pairs of layers; the best partners here are looked for in all layers.
--
-- $model VARCHAR: A model, as in models.model.
-- $partner VARCHAR: Another model.
-- $site VARCHAR = 'mlp': Hooked place of the first model.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $partner = 'demo-b'
WITH best AS (
    SELECT dataset, 'best' AS method, layer, NULL::INTEGER AS partner_layer, neuron,
        (partner_layer, partner_neuron) AS partner, r
    FROM neuron_pairs
    WHERE model = $model
        AND partner_model = $partner
        AND site = $site
        AND rank = 1
        AND ranked_by = 'signed'
        AND ($dataset IS NULL OR dataset = $dataset)
),
matched AS (
    SELECT dataset, method, layer, partner_layer, neuron, (partner_layer, partner_neuron) AS partner, r
    FROM matchings
    WHERE model = $model
        AND partner_model = $partner
        AND site = $site
        AND ($dataset IS NULL OR dataset = $dataset)
)
SELECT
    dataset,
    method,
    layer,
    partner_layer,
    count(*) AS neurons,
    count(DISTINCT partner) AS partners,
    avg(r) AS mean_r
FROM (FROM best UNION ALL FROM matched)
GROUP BY dataset, method, layer, partner_layer
ORDER BY dataset, layer, partner_layer NULLS FIRST, method;

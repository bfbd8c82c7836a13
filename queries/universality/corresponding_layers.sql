-- Which layers of two models correspond?
--
-- Every pair of layers: how well neurons are matched, which share of them has its best partner there, and linear CKA.
--
-- $model VARCHAR: A model, as in models.model.
-- $partner VARCHAR: Another model.
-- $site VARCHAR = 'mlp': Hooked place of the first model.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $partner = 'demo-b'
SELECT
    dataset,
    layer,
    partner_layer,
    mean_max_r,
    matched_share,
    mutual_share,
    cka,
    row_number() OVER (PARTITION BY dataset, layer ORDER BY matched_share DESC, partner_layer) = 1
        AS best
FROM layer_pairs
WHERE model = $model
    AND partner_model = $partner
    AND site = $site
    AND ($dataset IS NULL OR dataset = $dataset)
ORDER BY dataset, layer, partner_layer;

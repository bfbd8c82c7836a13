-- Which neurons of other models match a neuron?
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron.
-- $k INTEGER = 3: Partners of each model.
-- $ranked_by VARCHAR = 'signed': signed, by correlation; or absolute, by magnitude.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 2, $neuron = 7
SELECT
    p.dataset,
    p.partner_model,
    p.rank,
    p.partner_site,
    p.partner_layer,
    p.partner_neuron,
    p.r,
    b.r IS NOT NULL AS mutual
FROM neuron_pairs AS p
LEFT JOIN neuron_pairs AS b
    ON b.dataset = p.dataset
    AND b.model = p.partner_model
    AND b.site = p.partner_site
    AND b.layer = p.partner_layer
    AND b.neuron = p.partner_neuron
    AND b.partner_model = p.model
    AND b.partner_site = p.site
    AND b.partner_layer = p.layer
    AND b.partner_neuron = p.neuron
    AND b.ranked_by = p.ranked_by
    AND b.rank = 1
WHERE p.model = $model
    AND p.site = $site
    AND p.layer = $layer
    AND p.neuron = $neuron
    AND p.ranked_by = $ranked_by
    AND p.rank <= $k
    AND ($dataset IS NULL OR p.dataset = $dataset)
ORDER BY p.dataset, p.partner_model, p.rank;

-- Which neurons fire on what the token before was?
--
-- By the share of the variance that the token before explains less that of the token itself, both less what chance
-- gives; neurons that the token before explains better. After Gurnee et al. 2024, arXiv 2401.12181, section 4. Wants
-- the table label_scores with lag 1 (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $least DOUBLE = 0: Difference that is exceeded.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $least = -1, $k = 10
SELECT
    b.dataset,
    b.layer,
    b.neuron,
    b.adjusted_reduction AS token_before,
    t.adjusted_reduction AS token_itself,
    token_before - token_itself AS difference,
    b.best_class AS best_token_before,
    b.best_reduction
FROM label_scores AS b
JOIN label_scores AS t USING (model, dataset, site, layer, neuron, label)
WHERE b.model = $model
    AND b.site = $site
    AND ($layer IS NULL OR b.layer = $layer)
    AND ($dataset IS NULL OR b.dataset = $dataset)
    AND label = 'token'
    AND b.lag = 1
    AND t.lag = 0
    AND difference > $least
ORDER BY difference DESC, b.layer, b.neuron, b.dataset
LIMIT $k;

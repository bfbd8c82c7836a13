-- Which neurons fire on one token?
--
-- By the share of the variance that the one token explains against all others; the last column is what the token
-- explains whichever it is, less what chance gives. A negative difference, in standard deviations of the neuron, is a
-- token that switches it off. After Gurnee et al. 2024, Universal Neurons in GPT2 Language Models, arXiv 2401.12181,
-- section 4. Wants the table label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $least DOUBLE = 0.1: Share of the variance at least.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
SELECT
    dataset,
    layer,
    neuron,
    best_class AS token,
    best_count AS token_count,
    best_reduction AS variance_reduction,
    best_difference AS difference,
    adjusted_reduction AS every_token
FROM label_scores
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND label = 'token'
    AND lag = 0
    AND best_reduction >= $least
ORDER BY best_reduction DESC, layer, neuron, dataset
LIMIT $k;

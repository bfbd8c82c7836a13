-- Which neurons fire on tokens that begin with one letter?
--
-- By the share of the variance that the letter explains against all others, beside what the best single token
-- explains: a neuron of one word is no neuron of a letter. After Gurnee et al. 2024, arXiv 2401.12181, section 4.
-- Wants the table label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $least DOUBLE = 0.1: Share of the variance at least.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $least = 0.05, $k = 10
SELECT
    l.dataset,
    l.layer,
    l.neuron,
    l.best_class AS letter,
    l.best_reduction AS variance_reduction,
    l.best_difference AS difference,
    t.best_class AS token,
    t.best_reduction AS token_reduction
FROM label_scores AS l
LEFT JOIN label_scores AS t
    ON l.model = t.model AND l.dataset = t.dataset AND l.site = t.site AND l.layer = t.layer
    AND l.neuron = t.neuron AND t.label = 'token' AND t.lag = 0
WHERE l.model = $model
    AND l.site = $site
    AND ($layer IS NULL OR l.layer = $layer)
    AND ($dataset IS NULL OR l.dataset = $dataset)
    AND l.label = 'first_letter'
    AND l.lag = 0
    AND l.best_class <> 'none'
    AND l.best_reduction >= $least
    AND (t.best_reduction IS NULL OR l.best_reduction > t.best_reduction)
ORDER BY l.best_reduction DESC, l.layer, l.neuron, l.dataset
LIMIT $k;

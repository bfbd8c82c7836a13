-- Which neurons fire on words of one class: verbs, names, articles?
--
-- Classes are tags of the C5 set: NN1 noun in the singular, VVD past tense of a verb, ... After Gurnee et al. 2024,
-- arXiv 2401.12181, section 4. Wants the table label_scores with the label word_class, which needs the tagger
-- (`neuronmap analyze labels --labels token,word_class`).
--
-- $model VARCHAR: A model, as in models.model.
-- $lag INTEGER = 0: 0: class of the token's own word; 1: of the token before.
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
    best_class AS word_class,
    best_reduction,
    best_difference,
    adjusted_reduction AS every_class
FROM label_scores
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND label = 'word_class'
    AND lag = $lag
    AND best_reduction IS NOT NULL
ORDER BY best_reduction DESC, layer, neuron, dataset
LIMIT $k;

-- Which neurons does a label of the tokens explain best?
--
-- Any label that was analysed, such as digits, all_capitals, punctuation, white_space or word_start. Wants the table
-- label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $label VARCHAR: Label, as in label_scores.label.
-- $lag INTEGER = 0: 0: label of the token itself; 1: of the token before.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $label = 'digits', $k = 10
SELECT
    dataset,
    layer,
    neuron,
    variance_reduction,
    adjusted_reduction,
    p_adjusted,
    best_class,
    best_difference,
    top_class,
    top_mean
FROM label_scores
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND label = $label
    AND lag = $lag
    AND variance_reduction IS NOT NULL
ORDER BY adjusted_reduction DESC NULLS LAST, layer, neuron, dataset
LIMIT $k;

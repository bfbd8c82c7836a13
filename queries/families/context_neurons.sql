-- Which neurons fire on documents of one kind: a language, a source, a topic?
--
-- Over all labels of documents, which are further columns of docs. p is that of a permutation of the labels among
-- documents, corrected over the whole analysis: tokens of one document are not independent. Wants the table
-- label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $label VARCHAR = NULL: Label: a column of docs; NULL: each of them.
-- $alpha DOUBLE = 0.01: Corrected p at most.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $label = 'source', $k = 10
SELECT
    dataset,
    layer,
    neuron,
    label[6:] AS context,
    best_class AS value,
    best_reduction,
    best_difference,
    variance_reduction,
    p_adjusted
FROM label_scores
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND starts_with(label, 'docs.')
    AND ($label IS NULL OR label = 'docs.' || $label)
    AND p_adjusted <= $alpha
ORDER BY best_reduction DESC NULLS LAST, layer, neuron, label, dataset
LIMIT $k;

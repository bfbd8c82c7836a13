-- What explains a neuron best, of all labels of the tokens?
--
-- Wants the table label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
SELECT
    dataset,
    label,
    lag,
    adjusted_reduction,
    p_adjusted,
    best_class,
    best_reduction,
    best_difference,
    mutual_information
FROM label_scores
WHERE model = $model
    AND site = $site
    AND layer = $layer
    AND neuron = $neuron
    AND ($dataset IS NULL OR dataset = $dataset)
ORDER BY dataset, adjusted_reduction DESC NULLS LAST, label, lag;

-- Which neurons tell where a token stands?
--
-- By the mutual information, in bits, between the value and the bucket of the position (0, 1, 2-3, 4-7, ...), less
-- the bias of counting, beside the share of the variance and the bucket where the neuron is highest. After Voita et
-- al. 2023, Neurons in Large Language Models: Dead, N-gram, Positional, arXiv 2309.04827, and Gurnee et al. 2024,
-- arXiv 2401.12181, section 4. Wants the table label_scores (`neuronmap analyze labels`).
--
-- $model VARCHAR: A model, as in models.model.
-- $label VARCHAR = 'window_position': Position in the model's input, or document_position.
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
    mutual_information,
    variance_reduction,
    top_class AS highest_at,
    top_mean AS mean_there
FROM label_scores
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
    AND label = $label
    AND mutual_information IS NOT NULL
ORDER BY mutual_information DESC, layer, neuron, dataset
LIMIT $k;

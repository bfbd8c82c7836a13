-- Which neurons have a given token among their highest?
--
-- Spaces around the token do not count, so 'the' finds ' the' too; case does.
--
-- $model VARCHAR: A model, as in models.model.
-- $token VARCHAR: The token as text.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $token = 'the', $k = 10
SELECT
    dataset,
    layer,
    neuron,
    count(*) FILTER (trim(token) = trim($token)) / count(*) AS share,
    min(rank) FILTER (trim(token) = trim($token)) AS best_rank,
    max(value) FILTER (trim(token) = trim($token)) AS max_value
FROM top_activations
WHERE model = $model
    AND site = $site
    AND side = 'highest'
    AND ($layer IS NULL OR layer = $layer)
    AND ($dataset IS NULL OR dataset = $dataset)
GROUP BY dataset, layer, neuron
HAVING share > 0
ORDER BY share DESC, best_rank, max_value DESC, layer, neuron, dataset
LIMIT $k;

-- Which neurons have one and the same token as nearly all of their highest?
--
-- Spaces around tokens do not count.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $least DOUBLE = 0.5: Share of the highest tokens at least.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
WITH counted AS (
    SELECT
        dataset,
        layer,
        neuron,
        trim(token) AS token,
        count(*) AS times,
        max(value) AS max_value
    FROM top_activations
    WHERE model = $model
        AND site = $site
        AND side = 'highest'
        AND ($layer IS NULL OR layer = $layer)
        AND ($dataset IS NULL OR dataset = $dataset)
    GROUP BY ALL
),
shares AS (
    SELECT *, times / sum(times) OVER (PARTITION BY dataset, layer, neuron) AS share
    FROM counted
)
SELECT dataset, layer, neuron, token, share, max_value
FROM shares
WHERE share >= $least
ORDER BY share DESC, max_value DESC, layer, neuron, token, dataset
LIMIT $k;

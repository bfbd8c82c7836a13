-- Which neurons of a layer have nearly the same distribution of activations?
--
-- The distance is the largest difference of mean, standard deviation and the quantiles at 1, 50 and 99 %, over the
-- larger of the two standard deviations. Equal distributions do not prove equal neurons: look at their tokens.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: within every layer.
-- $distance DOUBLE = 0.02: Largest distance.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $layer = 0, $k = 10
WITH shapes AS (
    SELECT dataset, layer, neuron, mean, sqrt(variance) AS deviation, q010, q500, q990
    FROM neuron_stats
    WHERE model = $model
        AND site = $site
        AND ($layer IS NULL OR layer = $layer)
        AND ($dataset IS NULL OR dataset = $dataset)
        AND variance > 0
),
pairs AS (
    SELECT
        a.dataset,
        a.layer,
        a.neuron AS neuron_a,
        b.neuron AS neuron_b,
        greatest(
            abs(a.mean - b.mean),
            abs(a.deviation - b.deviation),
            abs(a.q010 - b.q010),
            abs(a.q500 - b.q500),
            abs(a.q990 - b.q990)
        ) / greatest(a.deviation, b.deviation) AS distance
    FROM shapes AS a
    JOIN shapes AS b
        ON a.dataset = b.dataset AND a.layer = b.layer AND a.neuron < b.neuron
)
SELECT dataset, layer, neuron_a, neuron_b, distance
FROM pairs
WHERE distance <= $distance
ORDER BY distance, layer, neuron_a, neuron_b, dataset
LIMIT $k;

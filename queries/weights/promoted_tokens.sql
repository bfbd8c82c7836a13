-- Which tokens does a neuron promote and suppress when it is active?
--
-- By the cosine of its output weights with the unembedding: the direct path, later layers left out. Empty for
-- models without an unembedding.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $site VARCHAR = 'mlp': Hooked place.
--
-- Example: $model = 'demo-a', $layer = 3, $neuron = 7
WITH chosen AS (
    SELECT *
    FROM neuron_weights
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND neuron = $neuron
)
SELECT
    unnest(range(1, len(promoted) + 1)) AS rank,
    unnest(promoted) AS promoted,
    unnest(promoted_cosine) AS promoted_cosine,
    unnest(suppressed) AS suppressed,
    unnest(suppressed_cosine) AS suppressed_cosine
FROM chosen
ORDER BY rank;

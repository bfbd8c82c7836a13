-- Which neurons fire on the same tokens as a given one?
--
-- Lift is the number of common tokens over the number expected if both fired independently. Wants the table
-- firings (`--keep firings`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $other_layer INTEGER = NULL: Layer of the partners; NULL: all layers.
-- $least INTEGER = 5: Tokens in common at least.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
WITH chosen AS (
    SELECT dataset, tokenizer, tok
    FROM firings
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND neuron = $neuron
        AND ($dataset IS NULL OR dataset = $dataset)
),
own AS (
    SELECT dataset, tokenizer, count(*) AS own_firings
    FROM chosen
    GROUP BY ALL
),
partners AS (
    SELECT
        f.dataset,
        f.tokenizer,
        f.layer,
        f.neuron,
        count(*) AS firings,
        count(c.tok) AS common
    FROM firings AS f
    LEFT JOIN chosen AS c USING (dataset, tokenizer, tok)
    WHERE f.model = $model
        AND f.site = $site
        AND ($other_layer IS NULL OR f.layer = $other_layer)
        AND ($dataset IS NULL OR f.dataset = $dataset)
        AND NOT (f.layer = $layer AND f.neuron = $neuron)
    GROUP BY ALL
    HAVING count(c.tok) >= $least
),
totals AS (
    SELECT dataset, tokenizer, count(*) AS token_count
    FROM tokens
    GROUP BY ALL
)
SELECT
    dataset,
    layer,
    neuron,
    firings,
    common,
    common / own_firings AS share_of_own,
    common * token_count / (firings * own_firings) AS lift
FROM partners
JOIN own USING (dataset, tokenizer)
JOIN totals USING (dataset, tokenizer)
ORDER BY lift DESC, common DESC, layer, neuron, dataset
LIMIT $k;

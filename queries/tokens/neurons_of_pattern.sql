-- Which neurons fire on digits, or on any other kind of token?
--
-- Share of a neuron's highest tokens that match a regular expression, beside the share of all tokens that do.
--
-- $model VARCHAR: A model, as in models.model.
-- $pattern VARCHAR = '^\s*[0-9]+$': Regular expression (RE2) that finds the tokens; the default finds numbers.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $pattern = '^\s*[A-Z]{2,}$', $k = 10
WITH base AS (
    SELECT dataset, tokenizer, avg(regexp_matches(token, $pattern)::INTEGER) AS share_of_all
    FROM tokens
    GROUP BY ALL
),
tops AS (
    SELECT
        dataset,
        tokenizer,
        layer,
        neuron,
        avg(regexp_matches(token, $pattern)::INTEGER) AS share,
        max(value) AS max_value
    FROM top_activations
    WHERE model = $model
        AND site = $site
        AND side = 'highest'
        AND ($layer IS NULL OR layer = $layer)
        AND ($dataset IS NULL OR dataset = $dataset)
    GROUP BY ALL
)
SELECT dataset, layer, neuron, share, share_of_all, share / nullif(share_of_all, 0) AS lift, max_value
FROM tops
JOIN base USING (dataset, tokenizer)
WHERE share > 0
ORDER BY share DESC, max_value DESC, layer, neuron, dataset
LIMIT $k;

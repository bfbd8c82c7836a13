-- How often does a neuron fire on numbers, capitals, small letters, punctuation and white space?
--
-- The class of a token is that of its first character that is not a space. Lift is the rate over the rate on all
-- tokens. Wants the table firings (`--keep firings`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER = NULL: Neuron; NULL: all firings of the layer, so that rates add up over its neurons.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
WITH fired AS (
    SELECT dataset, tokenizer, tok, count(*) AS firings
    FROM firings
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND ($neuron IS NULL OR neuron = $neuron)
        AND ($dataset IS NULL OR dataset = $dataset)
    GROUP BY ALL
),
classed AS (
    SELECT
        dataset,
        tokenizer,
        tok,
        CASE
            WHEN special THEN 'special'
            WHEN regexp_matches(token, '^\s*$') THEN 'white space'
            WHEN regexp_matches(token, '^\s*\p{N}') THEN 'number'
            WHEN regexp_matches(token, '^\s*\p{Lu}') THEN 'capital'
            WHEN regexp_matches(token, '^\s*\p{L}') THEN 'small letter'
            WHEN regexp_matches(token, '^\s*[\p{P}\p{S}]') THEN 'punctuation'
            ELSE 'other'
        END AS class
    FROM tokens
    WHERE (dataset, tokenizer) IN (SELECT (dataset, tokenizer) FROM fired)
),
rates AS (
    SELECT
        dataset,
        class,
        count(*) AS token_count,
        coalesce(sum(firings), 0)::BIGINT AS firings
    FROM classed
    LEFT JOIN fired USING (dataset, tokenizer, tok)
    GROUP BY ALL
)
SELECT
    dataset,
    class,
    token_count,
    firings,
    firings / token_count AS rate,
    rate * sum(token_count) OVER every_class / sum(firings) OVER every_class AS lift
FROM rates
WINDOW every_class AS (PARTITION BY dataset)
ORDER BY dataset, rate DESC, class;

-- Which neurons fire more often on documents of one label than of another?
--
-- Labels are the further columns of docs. Wants the table firings (`--keep firings`).
--
-- $model VARCHAR: A model, as in models.model.
-- $label VARCHAR: Label: a column of docs.
-- $a VARCHAR: One value of the label, as text.
-- $b VARCHAR: Another value.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $label = 'source', $a = 'devils-dictionary', $b = 'king-james'
WITH labelled AS (
    SELECT dataset, doc, COLUMNS(lambda name: name = $label)::VARCHAR AS label
    FROM docs
),
placed AS (
    SELECT dataset, tokenizer, tok, label
    FROM tokens
    JOIN labelled USING (dataset, doc)
    WHERE label IN ($a, $b)
),
sizes AS (
    SELECT
        dataset,
        tokenizer,
        count(*) FILTER (label = $a) AS tokens_a,
        count(*) FILTER (label = $b) AS tokens_b
    FROM placed
    GROUP BY ALL
),
hits AS (
    SELECT
        dataset,
        tokenizer,
        layer,
        neuron,
        count(*) FILTER (label = $a) AS firings_a,
        count(*) FILTER (label = $b) AS firings_b
    FROM firings
    JOIN placed USING (dataset, tokenizer, tok)
    WHERE model = $model
        AND site = $site
        AND ($layer IS NULL OR layer = $layer)
        AND ($dataset IS NULL OR dataset = $dataset)
    GROUP BY ALL
)
SELECT
    dataset,
    layer,
    neuron,
    firings_a / nullif(tokens_a, 0) AS rate_a,
    firings_b / nullif(tokens_b, 0) AS rate_b,
    rate_a - rate_b AS difference
FROM hits
JOIN sizes USING (dataset, tokenizer)
ORDER BY abs(difference) DESC NULLS LAST, layer, neuron, dataset
LIMIT $k;

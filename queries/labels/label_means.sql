-- On documents of which label does a neuron fire?
--
-- Labels are the further columns of docs. Lift is the rate over the rate on all documents. Wants the table firings
-- (`--keep firings`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $label VARCHAR: Label: a column of docs.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7, $label = 'source'
WITH fired AS (
    SELECT dataset, tokenizer, tok, value
    FROM firings
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND neuron = $neuron
        AND ($dataset IS NULL OR dataset = $dataset)
),
labelled AS (
    SELECT dataset, doc, COLUMNS(lambda name: name = $label)::VARCHAR AS label
    FROM docs
),
rates AS (
    SELECT
        dataset,
        label,
        count(DISTINCT doc) AS documents,
        count(*) AS token_count,
        count(value) AS firings,
        avg(value) AS mean_value
    FROM tokens
    JOIN labelled USING (dataset, doc)
    LEFT JOIN fired USING (dataset, tokenizer, tok)
    WHERE (dataset, tokenizer) IN (SELECT (dataset, tokenizer) FROM fired)
    GROUP BY ALL
)
SELECT
    dataset,
    label,
    documents,
    token_count,
    firings,
    firings / token_count AS rate,
    rate * sum(token_count) OVER every_label / sum(firings) OVER every_label AS lift,
    mean_value
FROM rates
WINDOW every_label AS (PARTITION BY dataset)
ORDER BY dataset, rate DESC, label;

-- How many documents and tokens does each value of a label have?
--
-- $label VARCHAR: Label: a column of docs.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $label = 'source'
WITH labelled AS (
    SELECT dataset, doc, COLUMNS(lambda name: name = $label)::VARCHAR AS label
    FROM docs
    WHERE $dataset IS NULL OR dataset = $dataset
)
SELECT
    dataset,
    label,
    tokenizer,
    count(DISTINCT doc) AS documents,
    count(tok) AS token_count
FROM labelled
LEFT JOIN tokens USING (dataset, doc)
GROUP BY ALL
ORDER BY dataset, tokenizer, documents DESC, label;

-- Which datasets are in the warehouse, and how large are they?
--
-- One row a dataset and tokenizer; token columns are NULL for documents not yet tokenised.
--
-- Example:
WITH texts AS (
    SELECT dataset, count(*) AS documents, sum(len(text))::BIGINT AS characters
    FROM docs
    GROUP BY dataset
),
counted AS (
    SELECT
        dataset,
        tokenizer,
        count(*) AS token_count,
        count(DISTINCT win) AS windows,
        count(DISTINCT token_id) AS distinct_tokens
    FROM tokens
    GROUP BY dataset, tokenizer
)
SELECT
    dataset,
    documents,
    characters,
    tokenizer,
    token_count,
    windows,
    distinct_tokens,
    characters / token_count AS characters_per_token
FROM texts
LEFT JOIN counted USING (dataset)
ORDER BY dataset, tokenizer;

CREATE MACRO token_labels(dataset := NULL, tokenizer := NULL, lag := 0) AS TABLE
SELECT
    u.data_name AS dataset,
    u.tokenizer_name AS tokenizer,
    u.tok,
    u.label,
    lag::INTEGER AS lag,
    u.class
FROM (
    SELECT
        -- Under other names, because those of parameters are refused beside UNPIVOT.
        c.dataset AS data_name,
        c.tokenizer AS tokenizer_name,
        c.* EXCLUDE (dataset, tokenizer)
    FROM token_classes(dataset := dataset, tokenizer := tokenizer, lag := lag) AS c
) AS w
UNPIVOT (class FOR label IN (* EXCLUDE (data_name, tokenizer_name, tok))) AS u
UNION ALL
SELECT
    t.dataset,
    t.tokenizer,
    t.tok,
    d.label,
    lag::INTEGER AS lag,
    d.class
FROM document_labels(dataset := dataset) AS d
INNER JOIN tokens AS t ON t.dataset = d.dataset AND t.doc = d.doc
WHERE
    lag = 0
    AND (tokenizer IS NULL OR t.tokenizer = tokenizer);

COMMENT ON MACRO TABLE token_labels IS
'The labels of tokens, a row a token and label: those of token_classes, and without a lag those of its document as docs.NAME.';

-- How was a document cut into tokens?
--
-- $doc_id VARCHAR: The document's id.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $tokenizer VARCHAR = NULL: Tokenizer, as in tokens.tokenizer; NULL: each of them.
-- $k INTEGER = 100: Tokens at most.
--
-- Example: $doc_id = 'devils-dictionary/abatis#0'
SELECT
    t.dataset,
    t.tokenizer,
    t.pos,
    t.token,
    t.token_id,
    substr(d.text, t.char_start + 1, t.char_end - t.char_start) AS text,
    t.word,
    t.win,
    t.tok
FROM tokens AS t
JOIN docs AS d USING (dataset, doc)
WHERE d.doc_id = $doc_id
    AND ($dataset IS NULL OR t.dataset = $dataset)
    AND ($tokenizer IS NULL OR t.tokenizer = $tokenizer)
ORDER BY t.dataset, t.tokenizer, t.tok
LIMIT $k;

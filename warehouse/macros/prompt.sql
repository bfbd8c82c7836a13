CREATE MACRO prompt(doc, dataset := NULL, tokenizer := NULL) AS TABLE
SELECT
    t.dataset,
    t.tokenizer,
    t.doc,
    t.pos,
    t.tok,
    t.token,
    t.token_id,
    t.char_start,
    t.char_end,
    t.word,
    t.special
FROM tokens AS t
WHERE
    t.doc = doc
    AND (dataset IS NULL OR t.dataset = dataset)
    AND (tokenizer IS NULL OR t.tokenizer = tokenizer)
ORDER BY t.dataset, t.tokenizer, t.tok;

COMMENT ON MACRO TABLE prompt IS
'The tokens of a document in order, for each tokenizer that read it.';

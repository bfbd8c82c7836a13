CREATE MACRO py.word_classes(dataset := NULL, tokenizer := NULL) AS TABLE
SELECT
    t.dataset,
    t.tokenizer,
    t.tok,
    'word_class' AS label,
    0 AS lag,
    w.word.class AS class
FROM (
    SELECT
        s.dataset,
        s.tokenizer,
        s.tok,
        s.doc,
        s.char_end,
        -- A leading space belongs to the token, and to no word.
        s.char_start + length(regexp_extract(
            substring(d.text, s.char_start + 1, s.char_end - s.char_start), '^[\s\p{Z}]*'
        )) AS at
    FROM tokens AS s
    INNER JOIN docs AS d ON d.dataset = s.dataset AND d.doc = s.doc
    WHERE
        (dataset IS NULL OR s.dataset = dataset)
        AND (tokenizer IS NULL OR s.tokenizer = tokenizer)
) AS t
ASOF JOIN (
    SELECT
        e.dataset,
        e.doc,
        unnest(word_classes(e.text)) AS word
    FROM docs AS e
    WHERE dataset IS NULL OR e.dataset = dataset
) AS w
    ON t.dataset = w.dataset AND t.doc = w.doc AND t.at >= w.word.char_start
WHERE t.at < least(w.word.char_end, t.char_end);

COMMENT ON MACRO TABLE py.word_classes IS
'The word class (tag of the C5 set: NN1, VVD, ...) of the word that each token begins or goes on, as rows of token_labels: label word_class. English; needs the extra tagger.';

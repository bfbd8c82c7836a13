CREATE MACRO token_classes(dataset := NULL, tokenizer := NULL, lag := 0) AS TABLE
SELECT
    t.dataset,
    t.tokenizer,
    t.tok,
    s.token,
    coalesce(lower(nullif(regexp_extract(s.token, '^[\s\p{Z}]*(\p{L})', 1), '')), 'none') AS first_letter,
    -- One capital is but a capitalised letter, as in the published labels.
    regexp_matches(s.token, '^\P{Ll}*\p{Lu}\P{Ll}*\p{Lu}\P{Ll}*$')::VARCHAR AS all_capitals,
    (
        regexp_matches(s.token, '^[\s\p{Z}]*\p{Lu}')
        AND NOT regexp_matches(s.token, '^\P{Ll}*\p{Lu}\P{Ll}*\p{Lu}\P{Ll}*$')
    )::VARCHAR AS capitalised,
    regexp_matches(s.token, '^[\s\p{Z}]*\p{Nd}+[\s\p{Z}]*$')::VARCHAR AS digits,
    regexp_matches(s.token, '^[\s\p{Z}]*[\p{P}\p{S}]+[\s\p{Z}]*$')::VARCHAR AS punctuation,
    regexp_matches(s.token, '^[\s\p{Z}]*$')::VARCHAR AS white_space,
    s.word_start::VARCHAR AS word_start,
    position_bucket(s.win_pos) AS window_position,
    position_bucket(s.pos) AS document_position
FROM tokens AS t
INNER JOIN (
    SELECT
        w.dataset,
        w.tokenizer,
        w.tok,
        w.doc,
        w.win,
        w.pos,
        w.win_pos,
        w.token,
        w.word IS NOT NULL AND w.word IS DISTINCT FROM lag(w.word) OVER (
            PARTITION BY w.dataset, w.tokenizer, w.doc ORDER BY w.pos
        ) AS word_start
    FROM tokens AS w
    WHERE
        (dataset IS NULL OR w.dataset = dataset)
        AND (tokenizer IS NULL OR w.tokenizer = tokenizer)
) AS s
    ON t.dataset = s.dataset AND t.tokenizer = s.tokenizer AND t.tok = s.tok + lag
    AND t.doc = s.doc AND t.win = s.win
WHERE
    (dataset IS NULL OR t.dataset = dataset)
    AND (tokenizer IS NULL OR t.tokenizer = tokenizer);

COMMENT ON MACRO TABLE token_classes IS
'The labels of tokens, a row a token and a column a label: token; first_letter, small, or none; all_capitals: two or more, and no small letter; capitalised: begins with a capital, others are not all; digits, punctuation (and symbols), white_space: nothing else but spaces; word_start: first token of a word; window_position and document_position: the position_bucket of win_pos and pos. With a lag, of the token that stands so many places earlier in the same window of the document; without one there is no row.';

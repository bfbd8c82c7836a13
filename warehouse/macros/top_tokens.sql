CREATE MACRO top_tokens(
    model, layer, neuron, k := 20, side := 'highest', around := 40, site := 'mlp', dataset := NULL
) AS TABLE
SELECT
    t.dataset,
    t.rank,
    t.value,
    t.token,
    in_context(d.text, p.char_start, p.char_end, around) AS context,
    d.doc_id,
    t.doc,
    t.pos,
    t.tok
FROM (
    SELECT a.*
    FROM top_activations AS a
    WHERE
        a.model = model
        AND a.site = site
        AND a.layer = layer
        AND a.neuron = neuron
        AND a.side = CASE
            WHEN side IN ('highest', 'lowest') THEN side
            ELSE error('side is highest or lowest, not ' || side)
        END
        AND a.rank <= k
        AND (dataset IS NULL OR a.dataset = dataset)
) AS t
LEFT JOIN tokens AS p
    ON t.dataset = p.dataset AND t.tokenizer = p.tokenizer AND t.tok = p.tok
LEFT JOIN docs AS d ON t.dataset = d.dataset AND t.doc = d.doc
ORDER BY t.dataset, t.rank;

COMMENT ON MACRO TABLE top_tokens IS
'The k tokens of a neuron''s highest (or lowest) values, marked [[so]] with the characters around them.';

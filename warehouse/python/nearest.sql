CREATE MACRO py.nearest(
    model, layer, neurons, doc, pos,
    k := 20, metric := 'l2', around := 40, site := 'mlp', dataset := NULL
) AS TABLE
SELECT
    h.hit.dataset,
    h.hit.rank,
    h.hit.value AS distance,
    h.hit.error,
    t.token,
    in_context(d.text, t.char_start, t.char_end, around) AS context,
    d.doc_id,
    t.doc,
    t.pos,
    h.hit.tok,
    h.hit.blocks_read,
    h.hit.blocks
FROM (
    SELECT
        unnest(
            nearest_blocks(model, site, layer, py.listed(neurons), q.tok, k, metric, q.dataset)
        ) AS hit
    FROM (
        SELECT DISTINCT b.dataset, b.tokenizer
        FROM (
            SELECT a.model, a.dataset, a.tokenizer, a.site, a.layer, a.neuron
            FROM activations AS a
            UNION ALL
            SELECT c.model, c.dataset, c.tokenizer, c.site, c.layer, c.neuron
            FROM activations_int8 AS c
        ) AS b
        WHERE
            b.model = model
            AND b.site = site
            AND b.layer = layer
            AND b.neuron = py.listed(neurons)[1]
            AND (dataset IS NULL OR b.dataset = dataset)
    ) AS s
    INNER JOIN tokens AS q ON s.dataset = q.dataset AND s.tokenizer = q.tokenizer
    WHERE q.doc = doc AND q.pos = pos
) AS h
LEFT JOIN tokens AS t
    ON h.hit.dataset = t.dataset AND h.hit.tokenizer = t.tokenizer AND h.hit.tok = t.tok
LEFT JOIN docs AS d ON t.dataset = d.dataset AND t.doc = d.doc
ORDER BY h.hit.dataset, h.hit.rank;

COMMENT ON MACRO TABLE py.nearest IS
'The k tokens whose stored values in some neurons are nearest to those of the token at doc and pos, by l2 or cosine distance: exact where error is 0, with how many blocks were read to prove it. An error above 0 is the most that distances may be off by int8 values.';

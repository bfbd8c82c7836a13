CREATE MACRO py.top_values(
    model, layer, neurons,
    k := 20, side := 'highest', combine := 'sum', around := 40, site := 'mlp', dataset := NULL
) AS TABLE
SELECT
    h.hit.dataset,
    h.hit.rank,
    h.hit.value,
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
    SELECT unnest(top_blocks(model, site, layer, py.listed(neurons), k, side, combine, dataset)) AS hit
) AS h
LEFT JOIN tokens AS t
    ON h.hit.dataset = t.dataset AND h.hit.tokenizer = t.tokenizer AND h.hit.tok = t.tok
LEFT JOIN docs AS d ON t.dataset = d.dataset AND t.doc = d.doc
ORDER BY h.hit.dataset, h.hit.rank;

COMMENT ON MACRO TABLE py.top_values IS
'The k tokens with the highest (or lowest) stored values of a neuron, or of a list of neurons by the sum or the min of its values: exact for any k where error is 0, with how many blocks were read to prove it. An error above 0 is the most that int8 values may be off, which the run keeps no float16 of.';

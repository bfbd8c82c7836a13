CREATE MACRO py.values_of(model, layer, neuron, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    b.dataset,
    b.tokenizer,
    b.first_tok + unnest(range(b.n)) AS tok,
    unnest(f16(b.vals)) AS value,
    0::FLOAT AS error
FROM activations AS b
WHERE
    b.model = model
    AND b.site = site
    AND b.layer = layer
    AND b.neuron = neuron
    AND (dataset IS NULL OR b.dataset = dataset)
UNION ALL
SELECT
    c.dataset,
    c.tokenizer,
    c.first_tok + unnest(range(c.n)) AS tok,
    unnest(i8(c.vals, c.scale, c.center)) AS value,
    (0.5625 * c.scale)::FLOAT AS error
FROM activations_int8 AS c
WHERE
    c.model = model
    AND c.site = site
    AND c.layer = layer
    AND c.neuron = neuron
    AND (dataset IS NULL OR c.dataset = dataset)
    AND c.dataset NOT IN (
        SELECT a.dataset
        FROM activations AS a
        WHERE a.model = model AND a.site = site AND a.layer = layer AND a.neuron = neuron
    );

COMMENT ON MACRO TABLE py.values_of IS
'All values of a neuron, decoded from activations, or from activations_int8 where only that is kept: dataset, tokenizer, tok, value, NULL where it was not finite, and error, the most that it may be off.';

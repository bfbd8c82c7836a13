CREATE MACRO py.values_of(model, layer, neuron, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    b.dataset,
    b.tokenizer,
    b.first_tok + unnest(range(b.n)) AS tok,
    unnest(f16(b.vals)) AS value
FROM activations AS b
WHERE
    b.model = model
    AND b.site = site
    AND b.layer = layer
    AND b.neuron = neuron
    AND (dataset IS NULL OR b.dataset = dataset);

COMMENT ON MACRO TABLE py.values_of IS
'All values of a neuron, decoded from activations: dataset, tokenizer, tok, value; NULL where it was not finite.';

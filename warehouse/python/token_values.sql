CREATE MACRO py.token_values(model, layer, tok, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    m.dataset,
    m.tokenizer,
    unnest(range(octet_length(m.vals) // 2))::INTEGER AS neuron,
    unnest(f16(m.vals)) AS value
FROM token_matrices AS m
WHERE
    m.model = model
    AND m.site = site
    AND m.layer = layer
    AND m.tok = tok
    AND (dataset IS NULL OR m.dataset = dataset);

COMMENT ON MACRO TABLE py.token_values IS
'All neurons'' values for one token, decoded from token_matrices: dataset, tokenizer, neuron, value.';

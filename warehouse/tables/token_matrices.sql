CREATE TABLE token_matrices (
    run       VARCHAR NOT NULL,
    model     VARCHAR NOT NULL,
    dataset   VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    site      VARCHAR NOT NULL,
    layer     INTEGER NOT NULL,
    tok       BIGINT NOT NULL,
    vals      BLOB NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, tok)
);

COMMENT ON TABLE token_matrices IS 'All values of one token at one site and layer.';
COMMENT ON COLUMN token_matrices.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN token_matrices.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN token_matrices.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN token_matrices.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN token_matrices.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN token_matrices.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN token_matrices.tok IS 'Token''s row number in its dataset and tokenizer, from 0: joins to tokens.';
COMMENT ON COLUMN token_matrices.vals IS 'width little-endian float16 values, in neuron order; NaN as in activations.';

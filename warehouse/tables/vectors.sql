CREATE TABLE vectors (
    run       VARCHAR NOT NULL,
    model     VARCHAR NOT NULL,
    dataset   VARCHAR NOT NULL,
    tokenizer VARCHAR,
    site      VARCHAR NOT NULL,
    layer     INTEGER NOT NULL,
    doc       BIGINT NOT NULL,
    pool      VARCHAR NOT NULL,
    n         INTEGER,
    vector    FLOAT[] NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, doc, pool)
);

COMMENT ON TABLE vectors IS 'One pooled vector of one document at one site and layer.';
COMMENT ON COLUMN vectors.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN vectors.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN vectors.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN vectors.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and doc; NULL where an imported file does not say.';
COMMENT ON COLUMN vectors.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN vectors.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN vectors.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN vectors.pool IS 'mean, last, first or max over the document''s counted tokens.';
COMMENT ON COLUMN vectors.n IS 'Tokens pooled; NULL where an imported file does not say.';
COMMENT ON COLUMN vectors.vector IS 'width values, in neuron order.';

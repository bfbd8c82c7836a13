CREATE TABLE firings (
    run       VARCHAR NOT NULL,
    model     VARCHAR NOT NULL,
    dataset   VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    site      VARCHAR NOT NULL,
    layer     INTEGER NOT NULL,
    neuron    INTEGER NOT NULL,
    tok       BIGINT NOT NULL,
    value     FLOAT NOT NULL,
    threshold FLOAT NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, tok)
);

COMMENT ON TABLE firings IS 'One value of a neuron at or above its recorded threshold, sorted by neuron and token.';
COMMENT ON COLUMN firings.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN firings.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN firings.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN firings.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN firings.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN firings.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN firings.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN firings.tok IS 'Token''s row number in its dataset and tokenizer, from 0: joins to tokens.';
COMMENT ON COLUMN firings.value IS 'Activation, rounded to float16.';
COMMENT ON COLUMN firings.threshold IS 'The neuron''s threshold: every value at or above it that float16 holds is here.';

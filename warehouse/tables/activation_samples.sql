CREATE TABLE activation_samples (
    run       VARCHAR NOT NULL,
    model     VARCHAR NOT NULL,
    dataset   VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    site      VARCHAR NOT NULL,
    layer     INTEGER NOT NULL,
    neuron    INTEGER NOT NULL,
    bin       INTEGER NOT NULL,
    rank      INTEGER NOT NULL,
    value     FLOAT NOT NULL,
    tok       BIGINT NOT NULL,
    doc       BIGINT NOT NULL,
    pos       INTEGER NOT NULL,
    token     VARCHAR NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, bin, rank)
);

COMMENT ON TABLE activation_samples IS 'A random token from one quantile bin of a neuron.';
COMMENT ON COLUMN activation_samples.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN activation_samples.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN activation_samples.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN activation_samples.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN activation_samples.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN activation_samples.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN activation_samples.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN activation_samples.bin IS 'Quantile bin from 0 (lowest) to the number of bins - 1.';
COMMENT ON COLUMN activation_samples.rank IS 'Number of the sample in its bin, from 1.';
COMMENT ON COLUMN activation_samples.value IS 'Activation.';
COMMENT ON COLUMN activation_samples.tok IS 'Token''s row number in its dataset and tokenizer, from 0: joins to tokens.';
COMMENT ON COLUMN activation_samples.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN activation_samples.pos IS 'Position in the document''s tokens.';
COMMENT ON COLUMN activation_samples.token IS 'The token as text.';

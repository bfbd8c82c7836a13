CREATE TABLE top_activations (
    run       VARCHAR NOT NULL,
    model     VARCHAR NOT NULL,
    dataset   VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    site      VARCHAR NOT NULL,
    layer     INTEGER NOT NULL,
    neuron    INTEGER NOT NULL,
    side      VARCHAR NOT NULL,
    rank      INTEGER NOT NULL,
    value     FLOAT NOT NULL,
    tok       BIGINT NOT NULL,
    doc       BIGINT NOT NULL,
    pos       INTEGER NOT NULL,
    token     VARCHAR NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, side, rank)
);

COMMENT ON TABLE top_activations IS 'One of the k highest or lowest values of a neuron.';
COMMENT ON COLUMN top_activations.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN top_activations.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN top_activations.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN top_activations.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN top_activations.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN top_activations.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN top_activations.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN top_activations.side IS 'highest or lowest.';
COMMENT ON COLUMN top_activations.rank IS 'Rank from 1; ties go to the earlier token.';
COMMENT ON COLUMN top_activations.value IS 'Activation.';
COMMENT ON COLUMN top_activations.tok IS 'Token''s row number in its dataset and tokenizer, from 0: joins to tokens.';
COMMENT ON COLUMN top_activations.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN top_activations.pos IS 'Position in the document''s tokens.';
COMMENT ON COLUMN top_activations.token IS 'The token as text.';

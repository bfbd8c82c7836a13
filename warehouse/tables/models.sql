CREATE TABLE models (
    run            VARCHAR NOT NULL,
    model          VARCHAR NOT NULL,
    name           VARCHAR NOT NULL,
    revision       VARCHAR,
    step           BIGINT,
    family         VARCHAR NOT NULL,
    architecture   VARCHAR NOT NULL,
    source         VARCHAR NOT NULL,
    weights_format VARCHAR NOT NULL,
    parameters     BIGINT NOT NULL,
    layers         INTEGER NOT NULL,
    d_model        INTEGER,
    d_mlp          INTEGER,
    heads          INTEGER,
    kv_heads       INTEGER,
    vocabulary     INTEGER,
    context        INTEGER,
    activation     VARCHAR,
    gated          BOOLEAN,
    causal         BOOLEAN,
    weights_hash   VARCHAR NOT NULL,
    tokenizer_hash VARCHAR,
    config         VARCHAR NOT NULL,
    PRIMARY KEY (model)
);

COMMENT ON TABLE models IS 'One model at a revision.';
COMMENT ON COLUMN models.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN models.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN models.name IS 'Name without the revision: groups the checkpoints of one training.';
COMMENT ON COLUMN models.revision IS 'Revision or checkpoint; NULL for the only or final one.';
COMMENT ON COLUMN models.step IS 'Training step, read from revisions such as step1000; NULL if the revision names none.';
COMMENT ON COLUMN models.family IS 'Model family: the TOML file that maps its sites.';
COMMENT ON COLUMN models.architecture IS 'Class that computes the model, such as GPT2Model.';
COMMENT ON COLUMN models.source IS 'Folder, file or hub id that it was loaded from.';
COMMENT ON COLUMN models.weights_format IS 'safetensors, gguf, pickle, or module for a PyTorch object handed over.';
COMMENT ON COLUMN models.parameters IS 'Parameters of the loaded model (tied ones once).';
COMMENT ON COLUMN models.layers IS 'Blocks, in all stacks.';
COMMENT ON COLUMN models.d_model IS 'Width of the residual stream.';
COMMENT ON COLUMN models.d_mlp IS 'Neurons of one MLP layer.';
COMMENT ON COLUMN models.heads IS 'Attention heads of one layer.';
COMMENT ON COLUMN models.kv_heads IS 'Key and value heads of one layer.';
COMMENT ON COLUMN models.vocabulary IS 'Rows of the token embedding.';
COMMENT ON COLUMN models.context IS 'Longest input in tokens.';
COMMENT ON COLUMN models.activation IS 'Activation function of the MLP.';
COMMENT ON COLUMN models.gated IS 'Whether a neuron is act(gate) * up.';
COMMENT ON COLUMN models.causal IS 'Whether a token sees only earlier tokens.';
COMMENT ON COLUMN models.weights_hash IS 'Hash of the weight files.';
COMMENT ON COLUMN models.tokenizer_hash IS 'Hash of the tokenizer''s definition.';
COMMENT ON COLUMN models.config IS 'The model''s configuration as JSON.';

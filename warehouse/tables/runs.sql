CREATE TABLE runs (
    run                VARCHAR NOT NULL,
    kind               VARCHAR NOT NULL,
    title              VARCHAR,
    model              VARCHAR,
    dataset            VARCHAR,
    tokenizer          VARCHAR,
    parents            VARCHAR[] NOT NULL,
    created            TIMESTAMP NOT NULL,
    seconds            DOUBLE NOT NULL,
    token_count        BIGINT,
    tokens_per_second  DOUBLE,
    bytes              BIGINT NOT NULL,
    rows               BIGINT NOT NULL,
    device             VARCHAR,
    dtype              VARCHAR,
    attention          VARCHAR,
    batching           VARCHAR,
    tolerance          DOUBLE,
    nonfinite          BIGINT,
    quantization_error DOUBLE,
    recipe             VARCHAR,
    model_hash         VARCHAR,
    tokenizer_hash     VARCHAR,
    data_hash          VARCHAR,
    versions           MAP(VARCHAR, VARCHAR) NOT NULL,
    git_revision       VARCHAR,
    format             INTEGER NOT NULL,
    PRIMARY KEY (run)
);

COMMENT ON TABLE runs IS 'One committed ingest or analysis, with what it was made from.';
COMMENT ON COLUMN runs.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN runs.kind IS 'What the run holds: docs, tokens, model, weights, activations, ...; import: rows that were read from a file of others.';
COMMENT ON COLUMN runs.title IS 'Title from the recipe; for an import, what its source was said to be.';
COMMENT ON COLUMN runs.model IS 'Model, if the run has one.';
COMMENT ON COLUMN runs.dataset IS 'Dataset, if the run has one.';
COMMENT ON COLUMN runs.tokenizer IS 'Tokenizer with its windowing policy, if the run has one.';
COMMENT ON COLUMN runs.parents IS 'Runs that this one was computed from.';
COMMENT ON COLUMN runs.created IS 'When the run was committed, in UTC.';
COMMENT ON COLUMN runs.seconds IS 'Wall time of the work, all resumed parts added, in seconds.';
COMMENT ON COLUMN runs.token_count IS 'Tokens counted by the reductions.';
COMMENT ON COLUMN runs.tokens_per_second IS 'Counted tokens over the time of forward passes and reductions.';
COMMENT ON COLUMN runs.bytes IS 'Bytes of the Parquet files.';
COMMENT ON COLUMN runs.rows IS 'Rows in all tables.';
COMMENT ON COLUMN runs.device IS 'Device of the forward pass: cpu, cuda:0, ...';
COMMENT ON COLUMN runs.dtype IS 'Number format of the forward pass: float32, bfloat16, float16.';
COMMENT ON COLUMN runs.attention IS 'Attention kernel: eager, sdpa, ...';
COMMENT ON COLUMN runs.batching IS 'Batch and padding policy, in words.';
COMMENT ON COLUMN runs.tolerance IS 'Largest difference from a batch-1 float32 pass on a sample, over the site''s standard deviation.';
COMMENT ON COLUMN runs.nonfinite IS 'NaN and infinite values met and not stored.';
COMMENT ON COLUMN runs.quantization_error IS 'With int8: the largest rms_error of a neuron in activations_int8, root-mean-square error over standard deviation.';
COMMENT ON COLUMN runs.recipe IS 'The full recipe as TOML: the run can be made again from it.';
COMMENT ON COLUMN runs.model_hash IS 'Hash of the weight files.';
COMMENT ON COLUMN runs.tokenizer_hash IS 'Hash of the tokenizer''s definition.';
COMMENT ON COLUMN runs.data_hash IS 'Hash of the documents: ids, texts and labels; for an import, of the file.';
COMMENT ON COLUMN runs.versions IS 'Versions of Python, neuronmap-sql, torch, transformers, duckdb, ... and the platform.';
COMMENT ON COLUMN runs.git_revision IS 'Revision of the working directory''s git checkout, if it is one; +dirty if changed.';
COMMENT ON COLUMN runs.format IS 'Version of the store''s format.';

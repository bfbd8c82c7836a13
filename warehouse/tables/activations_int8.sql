CREATE TABLE activations_int8 (
    run         VARCHAR NOT NULL,
    model       VARCHAR NOT NULL,
    dataset     VARCHAR NOT NULL,
    tokenizer   VARCHAR NOT NULL,
    site        VARCHAR NOT NULL,
    layer       INTEGER NOT NULL,
    neuron      INTEGER NOT NULL,
    block       INTEGER NOT NULL,
    first_tok   BIGINT NOT NULL,
    n           INTEGER NOT NULL,
    min         FLOAT,
    max         FLOAT,
    sum         DOUBLE,
    sum_squares DOUBLE,
    scale       FLOAT NOT NULL,
    center      FLOAT NOT NULL,
    rms_error   FLOAT NOT NULL,
    vals        BLOB NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, block)
);

COMMENT ON TABLE activations_int8 IS 'A block of consecutive tokens'' values of one neuron as one byte each, with the zone map of the float16 values.';
COMMENT ON COLUMN activations_int8.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN activations_int8.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN activations_int8.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN activations_int8.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN activations_int8.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN activations_int8.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN activations_int8.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN activations_int8.block IS 'Block number from 0.';
COMMENT ON COLUMN activations_int8.first_tok IS 'Token of the first value; the others follow.';
COMMENT ON COLUMN activations_int8.n IS 'Values in the block.';
COMMENT ON COLUMN activations_int8.min IS 'Smallest finite value before coding, exact.';
COMMENT ON COLUMN activations_int8.max IS 'Largest finite value before coding, exact.';
COMMENT ON COLUMN activations_int8.sum IS 'Sum of the finite values before coding.';
COMMENT ON COLUMN activations_int8.sum_squares IS 'Sum of the squares of the finite values before coding.';
COMMENT ON COLUMN activations_int8.scale IS 'Step between codes, the same for all blocks of a neuron: its range / 254. A value is off by at most 0.5625 of it: half a step and rounding.';
COMMENT ON COLUMN activations_int8.center IS 'Value of code 0, the same for all blocks of a neuron.';
COMMENT ON COLUMN activations_int8.rms_error IS 'Root-mean-square error of the neuron''s coded values over the standard deviation of its values; 0 where all are one.';
COMMENT ON COLUMN activations_int8.vals IS 'n signed bytes: code c stands for center + scale * c; -128 where activations has NaN.';

CREATE TABLE activations (
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
    vals        BLOB NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, block)
);

COMMENT ON TABLE activations IS 'A block of consecutive tokens'' values of one neuron, with its zone map.';
COMMENT ON COLUMN activations.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN activations.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN activations.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN activations.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN activations.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN activations.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN activations.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN activations.block IS 'Block number from 0.';
COMMENT ON COLUMN activations.first_tok IS 'Token of the first value; the others follow.';
COMMENT ON COLUMN activations.n IS 'Values in the block.';
COMMENT ON COLUMN activations.min IS 'Smallest finite value stored.';
COMMENT ON COLUMN activations.max IS 'Largest finite value stored.';
COMMENT ON COLUMN activations.sum IS 'Sum of the finite values.';
COMMENT ON COLUMN activations.sum_squares IS 'Sum of the squares of the finite values.';
COMMENT ON COLUMN activations.vals IS 'n little-endian float16 values; NaN where the model gave a value that is not finite or too large for float16.';

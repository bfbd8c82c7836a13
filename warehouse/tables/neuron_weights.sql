CREATE TABLE neuron_weights (
    run               VARCHAR NOT NULL,
    model             VARCHAR NOT NULL,
    site              VARCHAR NOT NULL,
    layer             INTEGER NOT NULL,
    neuron            INTEGER NOT NULL,
    w_in_norm         DOUBLE,
    w_up_norm         DOUBLE,
    bias              DOUBLE,
    w_out_norm        DOUBLE,
    in_out_cosine     DOUBLE,
    l2_penalty        DOUBLE,
    vocab_mean        DOUBLE,
    vocab_variance    DOUBLE,
    vocab_skewness    DOUBLE,
    vocab_kurtosis    DOUBLE,
    null_share        DOUBLE,
    promoted          VARCHAR[],
    promoted_cosine   FLOAT[],
    suppressed        VARCHAR[],
    suppressed_cosine FLOAT[],
    w_out             FLOAT[],
    folding           VARCHAR NOT NULL,
    PRIMARY KEY (model, site, layer, neuron)
);

COMMENT ON TABLE neuron_weights IS 'Weights of one MLP neuron.';
COMMENT ON COLUMN neuron_weights.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN neuron_weights.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN neuron_weights.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN neuron_weights.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN neuron_weights.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN neuron_weights.w_in_norm IS 'Norm of the input weights (of the gate, in a gated MLP).';
COMMENT ON COLUMN neuron_weights.w_up_norm IS 'Norm of the up weights of a gated MLP, else NULL.';
COMMENT ON COLUMN neuron_weights.bias IS 'Input bias; NULL if the model has none.';
COMMENT ON COLUMN neuron_weights.w_out_norm IS 'Norm of the output weights.';
COMMENT ON COLUMN neuron_weights.in_out_cosine IS 'Cosine of input (gate) and output weights.';
COMMENT ON COLUMN neuron_weights.l2_penalty IS 'Squared norm of input weights plus squared norm of output weights.';
COMMENT ON COLUMN neuron_weights.vocab_mean IS 'Mean over the vocabulary of cos(unembedding, output weights); NULL without an unembedding.';
COMMENT ON COLUMN neuron_weights.vocab_variance IS 'Population variance of the same.';
COMMENT ON COLUMN neuron_weights.vocab_skewness IS 'Population skewness of the same.';
COMMENT ON COLUMN neuron_weights.vocab_kurtosis IS 'Population kurtosis of the same: 3 for a Gaussian.';
COMMENT ON COLUMN neuron_weights.null_share IS 'Share of the squared output weights that lies in the effective null space of the unembedding: in the d_model / 64 directions (12 of 768, as Stolfo et al., arXiv 2406.16254, find in GPT-2) that it reads least; 1/64 by chance. Large in entropy neurons, which change no logits directly. NULL without an unembedding.';
COMMENT ON COLUMN neuron_weights.promoted IS 'Tokens with the largest cosine, first the largest.';
COMMENT ON COLUMN neuron_weights.promoted_cosine IS 'Their cosines.';
COMMENT ON COLUMN neuron_weights.suppressed IS 'Tokens with the smallest cosine, first the smallest.';
COMMENT ON COLUMN neuron_weights.suppressed_cosine IS 'Their cosines.';
COMMENT ON COLUMN neuron_weights.w_out IS 'Output weights, d_model values: what the neuron writes to the residual stream.';
COMMENT ON COLUMN neuron_weights.folding IS 'What was folded before measuring: ''none'', or ''norm'': norm gains into input weights and unembedding, and for LayerNorm models output weights and unembedding centred.';

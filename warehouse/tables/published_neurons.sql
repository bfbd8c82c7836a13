CREATE TABLE published_neurons (
    run                VARCHAR NOT NULL,
    model              VARCHAR NOT NULL,
    dataset            VARCHAR NOT NULL,
    site               VARCHAR NOT NULL,
    layer              INTEGER NOT NULL,
    neuron             INTEGER NOT NULL,
    model_neurons      BIGINT,
    max_max_r          DOUBLE,
    mean_max_r         DOUBLE,
    min_max_r          DOUBLE,
    max_baseline       DOUBLE,
    mean_baseline      DOUBLE,
    min_baseline       DOUBLE,
    excess_correlation DOUBLE,
    w_in_norm          DOUBLE,
    bias               DOUBLE,
    w_out_norm         DOUBLE,
    in_out_cosine      DOUBLE,
    l2_penalty         DOUBLE,
    mean               DOUBLE,
    variance           DOUBLE,
    skewness           DOUBLE,
    kurtosis           DOUBLE,
    fraction_above     DOUBLE,
    threshold          DOUBLE,
    vocab_mean         DOUBLE,
    vocab_variance     DOUBLE,
    vocab_skewness     DOUBLE,
    vocab_kurtosis     DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, neuron)
);

COMMENT ON TABLE published_neurons IS 'One neuron of a table that others published, as `neuronmap import neurons` read it; definitions are those of Universal Neurons in GPT2 Language Models (arXiv 2401.12181) and its code.';
COMMENT ON COLUMN published_neurons.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN published_neurons.model IS 'Model that the table is of: joins to models, if it is there under the same name.';
COMMENT ON COLUMN published_neurons.dataset IS 'Name given to what the values were measured on; it need not be in docs.';
COMMENT ON COLUMN published_neurons.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN published_neurons.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN published_neurons.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN published_neurons.model_neurons IS 'Neurons that the model has at the site in all layers, of which the table may hold few; NULL if the import was not told.';
COMMENT ON COLUMN published_neurons.max_max_r IS 'Largest over the partner models of the largest correlation with any neuron of one (theirs: max_corr); of values after the activation function, without padding and first token.';
COMMENT ON COLUMN published_neurons.mean_max_r IS 'Mean of the same over the partner models (mean_corr).';
COMMENT ON COLUMN published_neurons.min_max_r IS 'Smallest of the same over the partner models (min_corr): no negative correlation.';
COMMENT ON COLUMN published_neurons.max_baseline IS 'Largest over the partner models of the largest correlation with any neuron of one whose layers were rotated at random (max_baseline).';
COMMENT ON COLUMN published_neurons.mean_baseline IS 'Mean of the same over the partner models (mean_baseline).';
COMMENT ON COLUMN published_neurons.min_baseline IS 'Smallest of the same over the partner models (min_baseline).';
COMMENT ON COLUMN published_neurons.excess_correlation IS 'mean_max_r less mean_baseline (excess_corr): universal are neurons above 0.5.';
COMMENT ON COLUMN published_neurons.w_in_norm IS 'Norm of the input weights (w_in_norm), as their code loads the model.';
COMMENT ON COLUMN published_neurons.bias IS 'Input bias (input_bias).';
COMMENT ON COLUMN published_neurons.w_out_norm IS 'Norm of the output weights (w_out_norm).';
COMMENT ON COLUMN published_neurons.in_out_cosine IS 'Cosine of input and output weights (in_out_sim).';
COMMENT ON COLUMN published_neurons.l2_penalty IS 'Squared norm of input weights plus squared norm of output weights (l2_penalty).';
COMMENT ON COLUMN published_neurons.mean IS 'Mean of the value before the activation function, where neuron_stats has the one after it (mean); like the next three from a histogram of bins 0.098 wide from -10 to 15.';
COMMENT ON COLUMN published_neurons.variance IS 'Population variance of the same (var).';
COMMENT ON COLUMN published_neurons.skewness IS 'Population skewness of the same (skew).';
COMMENT ON COLUMN published_neurons.kurtosis IS 'Population kurtosis of the same (kurt): 3 for a Gaussian, not excess.';
COMMENT ON COLUMN published_neurons.fraction_above IS 'Fraction of values before the activation function above threshold (sparsity, which is called the fraction above zero there, but counts from the bin that ends at zero).';
COMMENT ON COLUMN published_neurons.threshold IS 'Threshold of fraction_above: -25/255 = -0.098, the lower edge of that bin.';
COMMENT ON COLUMN published_neurons.vocab_mean IS 'Mean over the vocabulary of cos(unembedding, output weights) (vocab_mean).';
COMMENT ON COLUMN published_neurons.vocab_variance IS 'Population variance of the same (vocab_var).';
COMMENT ON COLUMN published_neurons.vocab_skewness IS 'Population skewness of the same (vocab_skew).';
COMMENT ON COLUMN published_neurons.vocab_kurtosis IS 'Population kurtosis of the same (vocab_kurt): 3 for a Gaussian.';

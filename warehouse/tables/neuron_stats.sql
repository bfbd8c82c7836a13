CREATE TABLE neuron_stats (
    run             VARCHAR NOT NULL,
    model           VARCHAR NOT NULL,
    dataset         VARCHAR NOT NULL,
    site            VARCHAR NOT NULL,
    layer           INTEGER NOT NULL,
    neuron          INTEGER NOT NULL,
    count           BIGINT NOT NULL,
    nonfinite       BIGINT NOT NULL,
    mean            DOUBLE,
    variance        DOUBLE,
    skewness        DOUBLE,
    kurtosis        DOUBLE,
    min             FLOAT,
    max             FLOAT,
    fraction_active DOUBLE,
    q001            FLOAT,
    q010            FLOAT,
    q050            FLOAT,
    q250            FLOAT,
    q500            FLOAT,
    q750            FLOAT,
    q950            FLOAT,
    q990            FLOAT,
    q999            FLOAT,
    quantile_error  FLOAT,
    hist_bins       SMALLINT[],
    hist_counts     BIGINT[],
    PRIMARY KEY (model, dataset, site, layer, neuron)
);

COMMENT ON TABLE neuron_stats IS 'Statistics of one neuron over all counted tokens of a dataset.';
COMMENT ON COLUMN neuron_stats.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN neuron_stats.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN neuron_stats.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN neuron_stats.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN neuron_stats.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN neuron_stats.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN neuron_stats.count IS 'Finite values counted (n).';
COMMENT ON COLUMN neuron_stats.nonfinite IS 'NaN and infinite values left out.';
COMMENT ON COLUMN neuron_stats.mean IS 'Mean.';
COMMENT ON COLUMN neuron_stats.variance IS 'Population variance (divided by n).';
COMMENT ON COLUMN neuron_stats.skewness IS 'Population skewness m3 / m2^1.5; NULL for a constant neuron.';
COMMENT ON COLUMN neuron_stats.kurtosis IS 'Population kurtosis m4 / m2^2: 3 for a Gaussian, not excess; NULL for a constant neuron.';
COMMENT ON COLUMN neuron_stats.min IS 'Smallest value.';
COMMENT ON COLUMN neuron_stats.max IS 'Largest value.';
COMMENT ON COLUMN neuron_stats.fraction_active IS 'Fraction of values above zero, P(x > 0), exact.';
COMMENT ON COLUMN neuron_stats.q001 IS 'Quantile at 0.1 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q010 IS 'Quantile at 1 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q050 IS 'Quantile at 5 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q250 IS 'Quantile at 25 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q500 IS 'Quantile at 50 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q750 IS 'Quantile at 75 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q950 IS 'Quantile at 95 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q990 IS 'Quantile at 99 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.q999 IS 'Quantile at 99.9 % (linear between order statistics; see quantile_error).';
COMMENT ON COLUMN neuron_stats.quantile_error IS 'Bound on the error of the order statistics that the quantiles lie between, relative to their magnitude: 0 if exact, else one histogram bin, 1/16 (2^-16 absolute near zero; more beyond 65,280).';
COMMENT ON COLUMN neuron_stats.hist_bins IS 'Histogram bins that hold values, ascending, 0 to 1023: bin_low(b) and bin_high(b) give their edges.';
COMMENT ON COLUMN neuron_stats.hist_counts IS 'Values in each of hist_bins, exact.';

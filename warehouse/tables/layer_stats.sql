CREATE TABLE layer_stats (
    run             VARCHAR NOT NULL,
    model           VARCHAR NOT NULL,
    dataset         VARCHAR NOT NULL,
    site            VARCHAR NOT NULL,
    layer           INTEGER NOT NULL,
    neurons         INTEGER NOT NULL,
    token_count     BIGINT NOT NULL,
    mean            DOUBLE,
    variance        DOUBLE,
    rms             DOUBLE,
    min             FLOAT,
    max             FLOAT,
    fraction_active DOUBLE,
    mean_skewness   DOUBLE,
    mean_kurtosis   DOUBLE,
    dead            INTEGER NOT NULL,
    constant        INTEGER NOT NULL,
    PRIMARY KEY (model, dataset, site, layer)
);

COMMENT ON TABLE layer_stats IS 'Summary of one site in one layer over all its neurons.';
COMMENT ON COLUMN layer_stats.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN layer_stats.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN layer_stats.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN layer_stats.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN layer_stats.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN layer_stats.neurons IS 'Neurons.';
COMMENT ON COLUMN layer_stats.token_count IS 'Tokens counted.';
COMMENT ON COLUMN layer_stats.mean IS 'Mean over neurons and tokens.';
COMMENT ON COLUMN layer_stats.variance IS 'Population variance over neurons and tokens.';
COMMENT ON COLUMN layer_stats.rms IS 'Root mean square over neurons and tokens.';
COMMENT ON COLUMN layer_stats.min IS 'Smallest value.';
COMMENT ON COLUMN layer_stats.max IS 'Largest value.';
COMMENT ON COLUMN layer_stats.fraction_active IS 'Fraction of values above zero.';
COMMENT ON COLUMN layer_stats.mean_skewness IS 'Mean over neurons of their skewness.';
COMMENT ON COLUMN layer_stats.mean_kurtosis IS 'Mean over neurons of their kurtosis (3 for a Gaussian).';
COMMENT ON COLUMN layer_stats.dead IS 'Neurons never above zero.';
COMMENT ON COLUMN layer_stats.constant IS 'Neurons with zero variance.';

CREATE TABLE pair_histogram (
    run           VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    dataset       VARCHAR NOT NULL,
    site          VARCHAR NOT NULL,
    layer         INTEGER NOT NULL,
    partner_model VARCHAR NOT NULL,
    partner_site  VARCHAR NOT NULL,
    partner_layer INTEGER NOT NULL,
    bin           INTEGER NOT NULL,
    low           DOUBLE NOT NULL,
    count         BIGINT NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, partner_model, partner_site, partner_layer, bin)
);

COMMENT ON TABLE pair_histogram IS 'How the correlations of all neuron pairs of two layers are distributed.';
COMMENT ON COLUMN pair_histogram.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN pair_histogram.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN pair_histogram.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN pair_histogram.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN pair_histogram.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN pair_histogram.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN pair_histogram.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN pair_histogram.partner_layer IS 'Layer in the partner model.';
COMMENT ON COLUMN pair_histogram.bin IS 'Bin from 0 to 199: correlations from -1 + bin / 100 up to the next.';
COMMENT ON COLUMN pair_histogram.low IS 'Lower end of the bin.';
COMMENT ON COLUMN pair_histogram.count IS 'Pairs of live neurons; empty bins have no row.';

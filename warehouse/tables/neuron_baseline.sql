CREATE TABLE neuron_baseline (
    run           VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    dataset       VARCHAR NOT NULL,
    site          VARCHAR NOT NULL,
    layer         INTEGER NOT NULL,
    neuron        INTEGER NOT NULL,
    partner_model VARCHAR NOT NULL,
    partner_site  VARCHAR NOT NULL,
    kind          VARCHAR NOT NULL,
    seed          BIGINT NOT NULL,
    draws         INTEGER NOT NULL,
    mean          DOUBLE,
    sd            DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, neuron, partner_model, partner_site, kind)
);

COMMENT ON TABLE neuron_baseline IS 'The best correlation that a neuron reaches by chance of the basis: with the partner''s layers rotated at random.';
COMMENT ON COLUMN neuron_baseline.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN neuron_baseline.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN neuron_baseline.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN neuron_baseline.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN neuron_baseline.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN neuron_baseline.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN neuron_baseline.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN neuron_baseline.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN neuron_baseline.kind IS 'gaussian: random normal mixtures of a layer''s neurons; orthogonal: a random rotation (Haar); standardised: the same after dividing each neuron by its standard deviation.';
COMMENT ON COLUMN neuron_baseline.seed IS 'Seed of the rotations.';
COMMENT ON COLUMN neuron_baseline.draws IS 'Rotations drawn of each layer.';
COMMENT ON COLUMN neuron_baseline.mean IS 'Mean over the draws of the largest correlation with any rotated neuron.';
COMMENT ON COLUMN neuron_baseline.sd IS 'Standard deviation over the draws (n - 1 in the denominator); NULL with one draw.';

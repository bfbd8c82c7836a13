CREATE TABLE matchings (
    run            VARCHAR NOT NULL,
    model          VARCHAR NOT NULL,
    dataset        VARCHAR NOT NULL,
    site           VARCHAR NOT NULL,
    layer          INTEGER NOT NULL,
    neuron         INTEGER NOT NULL,
    partner_model  VARCHAR NOT NULL,
    partner_site   VARCHAR NOT NULL,
    partner_layer  INTEGER NOT NULL,
    partner_neuron INTEGER NOT NULL,
    method         VARCHAR NOT NULL,
    r              DOUBLE NOT NULL,
    n              BIGINT NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, neuron, partner_model, partner_site, partner_layer, method)
);

COMMENT ON TABLE matchings IS 'One-to-one assignments between the neurons of two layers.';
COMMENT ON COLUMN matchings.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN matchings.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN matchings.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN matchings.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN matchings.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN matchings.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN matchings.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN matchings.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN matchings.partner_layer IS 'Layer in the partner model.';
COMMENT ON COLUMN matchings.partner_neuron IS 'Neuron in the partner layer.';
COMMENT ON COLUMN matchings.method IS 'mutual: each is the other''s best; hungarian: the assignment with the largest sum of correlations; hungarian_absolute: of magnitudes.';
COMMENT ON COLUMN matchings.r IS 'Pearson correlation of the two.';
COMMENT ON COLUMN matchings.n IS 'Units (tokens, or character spans shared by two tokenizers) that the correlation is over.';

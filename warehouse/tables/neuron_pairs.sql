CREATE TABLE neuron_pairs (
    run            VARCHAR NOT NULL,
    model          VARCHAR NOT NULL,
    dataset        VARCHAR NOT NULL,
    site           VARCHAR NOT NULL,
    layer          INTEGER NOT NULL,
    neuron         INTEGER NOT NULL,
    partner_model  VARCHAR NOT NULL,
    partner_site   VARCHAR NOT NULL,
    ranked_by      VARCHAR NOT NULL,
    rank           INTEGER NOT NULL,
    partner_layer  INTEGER NOT NULL,
    partner_neuron INTEGER NOT NULL,
    r              DOUBLE NOT NULL,
    n              BIGINT,
    PRIMARY KEY (model, dataset, site, layer, neuron, partner_model, partner_site, ranked_by, rank)
);

COMMENT ON TABLE neuron_pairs IS 'A neuron''s k best partners in another model, with their identity.';
COMMENT ON COLUMN neuron_pairs.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN neuron_pairs.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN neuron_pairs.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN neuron_pairs.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN neuron_pairs.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN neuron_pairs.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN neuron_pairs.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN neuron_pairs.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN neuron_pairs.ranked_by IS 'signed: largest correlations; absolute: largest magnitudes.';
COMMENT ON COLUMN neuron_pairs.rank IS 'Rank from 1; ties go to the earlier layer and neuron.';
COMMENT ON COLUMN neuron_pairs.partner_layer IS 'Layer in the partner model.';
COMMENT ON COLUMN neuron_pairs.partner_neuron IS 'Neuron in the partner layer.';
COMMENT ON COLUMN neuron_pairs.r IS 'Pearson correlation over the units, from -1 to 1.';
COMMENT ON COLUMN neuron_pairs.n IS 'Units (tokens, or character spans shared by two tokenizers) that the correlation is over; NULL where imported results do not say.';

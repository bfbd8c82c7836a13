CREATE TABLE neuron_matches (
    run           VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    dataset       VARCHAR NOT NULL,
    site          VARCHAR NOT NULL,
    layer         INTEGER NOT NULL,
    neuron        INTEGER NOT NULL,
    partner_model VARCHAR NOT NULL,
    partner_site  VARCHAR NOT NULL,
    state         VARCHAR NOT NULL,
    n             BIGINT,
    max_r         DOUBLE,
    min_r         DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, neuron, partner_model, partner_site)
);

COMMENT ON TABLE neuron_matches IS 'One neuron against all neurons of another model: how well it is matched there.';
COMMENT ON COLUMN neuron_matches.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN neuron_matches.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN neuron_matches.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN neuron_matches.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN neuron_matches.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN neuron_matches.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN neuron_matches.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN neuron_matches.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN neuron_matches.state IS 'live; dead: its values never change; overflow: a NaN or infinity among them; undefined: imported results have no number for it, and do not say why. Only live neurons have correlations.';
COMMENT ON COLUMN neuron_matches.n IS 'Units (tokens, or character spans shared by two tokenizers) that the correlation is over; NULL where imported results do not say.';
COMMENT ON COLUMN neuron_matches.max_r IS 'Largest Pearson correlation with any live neuron of the partner model.';
COMMENT ON COLUMN neuron_matches.min_r IS 'Smallest: the most negative one.';

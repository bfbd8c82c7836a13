CREATE TABLE layer_pairs (
    run           VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    dataset       VARCHAR NOT NULL,
    site          VARCHAR NOT NULL,
    layer         INTEGER NOT NULL,
    partner_model VARCHAR NOT NULL,
    partner_site  VARCHAR NOT NULL,
    partner_layer INTEGER NOT NULL,
    n             BIGINT NOT NULL,
    mean_max_r    DOUBLE,
    matched_share DOUBLE,
    mutual_share  DOUBLE,
    cka           DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, partner_model, partner_site, partner_layer)
);

COMMENT ON TABLE layer_pairs IS 'One layer against one layer of another model.';
COMMENT ON COLUMN layer_pairs.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN layer_pairs.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN layer_pairs.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN layer_pairs.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN layer_pairs.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN layer_pairs.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN layer_pairs.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN layer_pairs.partner_layer IS 'Layer in the partner model.';
COMMENT ON COLUMN layer_pairs.n IS 'Units (tokens, or character spans shared by two tokenizers) that the correlation is over.';
COMMENT ON COLUMN layer_pairs.mean_max_r IS 'Mean over live neurons of the largest correlation within the partner layer.';
COMMENT ON COLUMN layer_pairs.matched_share IS 'Share of live neurons whose best partner in the whole partner model lies in the partner layer.';
COMMENT ON COLUMN layer_pairs.mutual_share IS 'Share of live neurons that are the best partner, within the two layers, of their best partner.';
COMMENT ON COLUMN layer_pairs.cka IS 'Linear centred kernel alignment of the two layers (Kornblith et al. 2019, arXiv 1905.00414), 0 to 1.';

CREATE TABLE model_pairs (
    run           VARCHAR NOT NULL,
    model         VARCHAR NOT NULL,
    dataset       VARCHAR NOT NULL,
    site          VARCHAR NOT NULL,
    partner_model VARCHAR NOT NULL,
    partner_site  VARCHAR NOT NULL,
    unit          VARCHAR NOT NULL,
    n             BIGINT NOT NULL,
    token_count   BIGINT NOT NULL,
    coverage      DOUBLE NOT NULL,
    neurons       BIGINT NOT NULL,
    dead          BIGINT NOT NULL,
    overflowing   BIGINT NOT NULL,
    mean_max_r    DOUBLE,
    PRIMARY KEY (model, dataset, site, partner_model, partner_site)
);

COMMENT ON TABLE model_pairs IS 'One model beside another on one dataset: what a comparison of their neurons is over.';
COMMENT ON COLUMN model_pairs.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN model_pairs.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN model_pairs.dataset IS 'Dataset that both models read: joins to docs.';
COMMENT ON COLUMN model_pairs.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN model_pairs.partner_model IS 'The model that it is compared with: joins to models.';
COMMENT ON COLUMN model_pairs.partner_site IS 'Hooked place in the partner model.';
COMMENT ON COLUMN model_pairs.unit IS 'token: both models see the same tokens; span: values are averaged over the longest runs of characters that both tokenizers cut alike.';
COMMENT ON COLUMN model_pairs.n IS 'Units compared.';
COMMENT ON COLUMN model_pairs.token_count IS 'Tokens of the model that the units hold.';
COMMENT ON COLUMN model_pairs.coverage IS 'Share of the model''s counted tokens that the units hold.';
COMMENT ON COLUMN model_pairs.neurons IS 'Neurons of the model at the site, dead ones too.';
COMMENT ON COLUMN model_pairs.dead IS 'Neurons whose values never change.';
COMMENT ON COLUMN model_pairs.overflowing IS 'Neurons with a NaN or infinity among their values.';
COMMENT ON COLUMN model_pairs.mean_max_r IS 'Mean over live neurons of their largest correlation with a partner neuron.';

CREATE TABLE sites (
    run     VARCHAR NOT NULL,
    model   VARCHAR NOT NULL,
    site    VARCHAR NOT NULL,
    layer   INTEGER NOT NULL,
    module  VARCHAR NOT NULL,
    capture VARCHAR NOT NULL,
    width   INTEGER NOT NULL,
    heads   INTEGER,
    kind    VARCHAR NOT NULL,
    alias   VARCHAR,
    PRIMARY KEY (run, model, site, layer)
);

COMMENT ON TABLE sites IS 'One hooked place in one layer of a model.';
COMMENT ON COLUMN sites.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN sites.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN sites.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN sites.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN sites.module IS 'Path of the hooked module in the model.';
COMMENT ON COLUMN sites.capture IS 'What of the module is recorded: input or output.';
COMMENT ON COLUMN sites.width IS 'Units (neurons) of the site.';
COMMENT ON COLUMN sites.heads IS 'For head_out: the heads whose outputs lie side by side.';
COMMENT ON COLUMN sites.kind IS 'mlp, residual, attention or custom.';
COMMENT ON COLUMN sites.alias IS 'TransformerLens name of the same place.';

CREATE TABLE class_means (
    run        VARCHAR NOT NULL,
    model      VARCHAR NOT NULL,
    dataset    VARCHAR NOT NULL,
    tokenizer  VARCHAR NOT NULL,
    site       VARCHAR NOT NULL,
    layer      INTEGER NOT NULL,
    neuron     INTEGER NOT NULL,
    label      VARCHAR NOT NULL,
    lag        INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    class      VARCHAR NOT NULL,
    count      BIGINT NOT NULL,
    mean       DOUBLE NOT NULL,
    difference DOUBLE,
    reduction  DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, neuron, label, lag, rank)
);

COMMENT ON TABLE class_means IS 'The classes of a label that tell most of one neuron''s values, with its means there.';
COMMENT ON COLUMN class_means.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN class_means.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN class_means.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN class_means.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset.';
COMMENT ON COLUMN class_means.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN class_means.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN class_means.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN class_means.label IS 'Label, as in token_labels: token, first_letter, ..., docs.NAME; word_class.';
COMMENT ON COLUMN class_means.lag IS '0: the label of the token itself; 1: that of the token before it in its window; and so on.';
COMMENT ON COLUMN class_means.rank IS 'Rank from 1 by reduction; ties go to the earlier class by name.';
COMMENT ON COLUMN class_means.class IS 'Class.';
COMMENT ON COLUMN class_means.count IS 'Tokens of the class with a finite value.';
COMMENT ON COLUMN class_means.mean IS 'Mean of the neuron''s values there.';
COMMENT ON COLUMN class_means.difference IS 'Mean less the mean of all other tokens with a class, in standard deviations of the neuron.';
COMMENT ON COLUMN class_means.reduction IS 'Variance reduction by the class against all others.';

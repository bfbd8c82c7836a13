CREATE TABLE vector_stats (
    run                VARCHAR NOT NULL,
    model              VARCHAR NOT NULL,
    dataset            VARCHAR NOT NULL,
    site               VARCHAR NOT NULL,
    layer              INTEGER NOT NULL,
    doc                BIGINT NOT NULL,
    pool               VARCHAR NOT NULL,
    name               VARCHAR NOT NULL,
    mean               DOUBLE,
    standard_deviation DOUBLE,
    min                DOUBLE,
    max                DOUBLE,
    fraction_zero      DOUBLE,
    attributes         VARCHAR NOT NULL,
    PRIMARY KEY (model, dataset, site, layer, doc, pool)
);

COMMENT ON TABLE vector_stats IS 'What an imported HDF5 file tells of a pooled vector besides its values.';
COMMENT ON COLUMN vector_stats.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN vector_stats.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN vector_stats.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN vector_stats.site IS 'Place that the vector is of: joins to vectors.';
COMMENT ON COLUMN vector_stats.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN vector_stats.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN vector_stats.pool IS 'How the document''s tokens were pooled: joins to vectors.';
COMMENT ON COLUMN vector_stats.name IS 'Name of the layer''s group in the file.';
COMMENT ON COLUMN vector_stats.mean IS 'mean, as the file tells it.';
COMMENT ON COLUMN vector_stats.standard_deviation IS 'std, as the file tells it; the classic files have the population''s.';
COMMENT ON COLUMN vector_stats.min IS 'min, as the file tells it.';
COMMENT ON COLUMN vector_stats.max IS 'max, as the file tells it.';
COMMENT ON COLUMN vector_stats.fraction_zero IS 'sparsity, as the file tells it: in the classic files the fraction of values that are exactly zero.';
COMMENT ON COLUMN vector_stats.attributes IS 'All other attributes of the layer''s group and of the vector, as a JSON object.';

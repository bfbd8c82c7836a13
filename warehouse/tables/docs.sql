CREATE TABLE docs (
    run     VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    doc     BIGINT NOT NULL,
    doc_id  VARCHAR NOT NULL,
    text    VARCHAR NOT NULL,
    PRIMARY KEY (dataset, doc)
);

COMMENT ON TABLE docs IS 'One document. The label columns of the data files follow as further columns, with their own types.';
COMMENT ON COLUMN docs.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN docs.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN docs.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN docs.doc_id IS 'The document''s own id, or its file and line.';
COMMENT ON COLUMN docs.text IS 'Text of the document.';

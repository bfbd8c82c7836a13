CREATE MACRO document_labels(dataset := NULL) AS TABLE
SELECT
    u.data_name AS dataset,
    u.doc,
    'docs.' || u.label AS label,
    u.class
FROM (
    SELECT
        d.dataset AS data_name,
        d.doc,
        -- Where no data set has labels, doc_id is what keeps the list of columns from being empty.
        COLUMNS(lambda name: name NOT IN ('run', 'dataset', 'doc', 'text'))::VARCHAR
    FROM docs AS d
    WHERE dataset IS NULL OR d.dataset = dataset
) AS w
UNPIVOT (class FOR label IN (* EXCLUDE (data_name, doc))) AS u
WHERE u.label <> 'doc_id';

COMMENT ON MACRO TABLE document_labels IS
'The labels of documents, a row a document and label: the further columns of docs as docs.NAME, with their values as text; none where the value is NULL.';

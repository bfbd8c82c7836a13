-- Which documents excite a neuron most?
--
-- By the document's pooled vector. Wants the table vectors (`--keep vectors`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $pool VARCHAR = 'mean': How a document's tokens were pooled: mean, last, first or max.
-- $characters INTEGER = 80: Characters of the text to show.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: all of them.
-- $k INTEGER = 10: Rows at most.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
SELECT
    dataset,
    doc_id,
    vector[$neuron + 1] AS value,
    n AS token_count,
    left(text, $characters) AS text
FROM vectors
JOIN docs USING (dataset, doc)
WHERE model = $model
    AND site = $site
    AND layer = $layer
    AND pool = $pool
    AND ($dataset IS NULL OR dataset = $dataset)
ORDER BY value DESC, dataset, doc
LIMIT $k;

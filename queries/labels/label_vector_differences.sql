-- Which neurons tell the documents of two labels apart, by pooled vectors?
--
-- The effect is the difference of the means over the pooled standard deviation of the documents (Cohen's d). Labels
-- are the further columns of docs. Wants the table vectors (`--keep vectors`).
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $label VARCHAR: Label: a column of docs.
-- $a VARCHAR: One value of the label, as text.
-- $b VARCHAR: Another value.
-- $pool VARCHAR = 'mean': How a document's tokens were pooled: mean, last, first or max.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $layer = 1, $label = 'source', $a = 'devils-dictionary', $b = 'king-james'
WITH labelled AS (
    SELECT dataset, doc, COLUMNS(lambda name: name = $label)::VARCHAR AS label
    FROM docs
),
long AS (
    SELECT
        dataset,
        label,
        unnest(vector) AS value,
        unnest(range(len(vector))) AS neuron
    FROM vectors
    JOIN labelled USING (dataset, doc)
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND pool = $pool
        AND ($dataset IS NULL OR dataset = $dataset)
        AND label IN ($a, $b)
),
moments AS (
    SELECT
        dataset,
        neuron,
        count(*) FILTER (label = $a) AS documents_a,
        count(*) FILTER (label = $b) AS documents_b,
        avg(value) FILTER (label = $a) AS mean_a,
        avg(value) FILTER (label = $b) AS mean_b,
        var_samp(value) FILTER (label = $a) AS variance_a,
        var_samp(value) FILTER (label = $b) AS variance_b
    FROM long
    GROUP BY ALL
)
SELECT
    dataset,
    neuron,
    documents_a,
    documents_b,
    mean_a,
    mean_b,
    mean_a - mean_b AS difference,
    difference / nullif(sqrt(
        ((documents_a - 1) * variance_a + (documents_b - 1) * variance_b)
        / (documents_a + documents_b - 2)
    ), 0) AS effect
FROM moments
ORDER BY abs(effect) DESC NULLS LAST, neuron, dataset
LIMIT $k;

CREATE MACRO py.top_values(model, layer, neuron, k := 100, site := 'mlp', dataset := NULL) AS TABLE
WITH
zones AS (
    SELECT b.dataset, b.block, b.max
    FROM activations AS b
    WHERE
        b.model = model
        AND b.site = site
        AND b.layer = layer
        AND b.neuron = neuron
        AND (dataset IS NULL OR b.dataset = dataset)
),

-- The k blocks with the largest maxima hold k values at least as large as any other block's
-- maximum, so no block below them can matter.
bounds AS (
    SELECT z.dataset, min(z.max) AS bound
    FROM (
        SELECT y.dataset, y.max
        FROM zones AS y
        WHERE y.max IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY y.dataset ORDER BY y.max DESC) <= k
    ) AS z
    GROUP BY z.dataset
),

found AS (
    SELECT b.dataset, b.tokenizer, b.first_tok, unnest(f16_topk(b.vals, k)) AS hit
    FROM activations AS b
    INNER JOIN bounds AS c ON b.dataset = c.dataset AND b.max >= c.bound
    WHERE
        b.model = model
        AND b.site = site
        AND b.layer = layer
        AND b.neuron = neuron
)

SELECT
    f.dataset,
    f.tokenizer,
    row_number() OVER (
        PARTITION BY f.dataset ORDER BY f.hit.value DESC, f.first_tok + f.hit.i
    ) AS rank,
    f.hit.value AS value,
    f.first_tok + f.hit.i AS tok
FROM found AS f
QUALIFY rank <= k
ORDER BY f.dataset, rank;

COMMENT ON MACRO TABLE py.top_values IS
'The k highest stored values of a neuron, exact for any k, reading at most the k blocks with the largest maxima: dataset, tokenizer, rank, value, tok.';

-- Which neurons of different models are each other's best partners beyond chance?
--
-- One row a pair. Its excess is the correlation less the larger one of the two baselines. `agreeing` counts the further
-- models in which both have the same partner, above the threshold too: the triangles that the pair is in. With more
-- than $k pairs, those that most models agree on, and of them those with the largest correlations.
--
-- $models VARCHAR[]: Models; the first of a pair stands earlier in the list.
-- $threshold DOUBLE = 0.5: Excess correlation of the pair to exceed.
-- $k INTEGER = 500: Pairs at most.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $models = ['demo-a', 'demo-b', 'demo-c'], $threshold = 0.2
WITH best AS (
    SELECT p.*, p.r - b.mean AS excess
    FROM neuron_pairs AS p
    JOIN neuron_baseline AS b
        USING (model, dataset, site, layer, neuron, partner_model, partner_site)
    WHERE p.rank = 1
        AND p.ranked_by = 'signed'
        AND b.kind = $kind
        AND list_contains($models, p.model)
        AND list_contains($models, p.partner_model)
        AND ($dataset IS NULL OR p.dataset = $dataset)
),
mutual AS (
    SELECT a.* REPLACE (least(a.excess, b.excess) AS excess)
    FROM best AS a
    JOIN best AS b
        ON a.dataset = b.dataset
        AND a.model = b.partner_model
        AND a.site = b.partner_site
        AND a.layer = b.partner_layer
        AND a.neuron = b.partner_neuron
        AND a.partner_model = b.model
        AND a.partner_site = b.site
        AND a.partner_layer = b.layer
        AND a.partner_neuron = b.neuron
    WHERE least(a.excess, b.excess) > $threshold
),
closed AS (
    SELECT e.dataset, e.model, e.layer, e.neuron, e.partner_model, e.partner_layer,
        e.partner_neuron, e.r, e.excess, count(y.r) AS agreeing
    FROM mutual AS e
    LEFT JOIN mutual AS x
        ON x.dataset = e.dataset
        AND x.model = e.model
        AND x.site = e.site
        AND x.layer = e.layer
        AND x.neuron = e.neuron
    LEFT JOIN mutual AS y
        ON y.dataset = e.dataset
        AND y.model = e.partner_model
        AND y.site = e.partner_site
        AND y.layer = e.partner_layer
        AND y.neuron = e.partner_neuron
        AND y.partner_model = x.partner_model
        AND y.partner_site = x.partner_site
        AND y.partner_layer = x.partner_layer
        AND y.partner_neuron = x.partner_neuron
    WHERE list_position($models, e.model) < list_position($models, e.partner_model)
    GROUP BY ALL
)
SELECT
    *,
    count(*) OVER (PARTITION BY dataset) AS total
FROM closed
QUALIFY row_number() OVER (
    PARTITION BY dataset
    ORDER BY agreeing DESC, r DESC, model, layer, neuron, partner_model
) <= $k
ORDER BY dataset, agreeing DESC, r DESC, model, layer, neuron, partner_model;

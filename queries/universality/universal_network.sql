-- Which universal neurons of different models are each other's best partners?
--
-- One row a pair. `agreeing` counts the further models in which both have the same best partner: the triangles that
-- the pair is in. With more than $k pairs, those with the largest correlations.
--
-- $models VARCHAR[]: Models; the first of a pair stands earlier in the list.
-- $threshold DOUBLE = 0.5: Excess correlation that both neurons exceed.
-- $k INTEGER = 500: Pairs at most.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $models = ['demo-a', 'demo-b', 'demo-c'], $threshold = 0.2
WITH best AS (
    SELECT *
    FROM neuron_pairs
    WHERE rank = 1
        AND ranked_by = 'signed'
        AND list_contains($models, model)
        AND list_contains($models, partner_model)
        AND ($dataset IS NULL OR dataset = $dataset)
),
mutual AS (
    SELECT a.*
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
),
universal AS (
    SELECT *
    FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
    WHERE excess > $threshold
),
edges AS (
    SELECT m.*, u.excess, v.excess AS partner_excess
    FROM mutual AS m
    JOIN universal AS u
        ON m.dataset = u.dataset
        AND m.model = u.model
        AND m.site = u.site
        AND m.layer = u.layer
        AND m.neuron = u.neuron
    JOIN universal AS v
        ON m.dataset = v.dataset
        AND m.partner_model = v.model
        AND m.partner_site = v.site
        AND m.partner_layer = v.layer
        AND m.partner_neuron = v.neuron
    WHERE list_position($models, m.model) < list_position($models, m.partner_model)
),
closed AS (
    SELECT e.dataset, e.model, e.layer, e.neuron, e.excess, e.partner_model, e.partner_layer,
        e.partner_neuron, e.partner_excess, e.r, count(y.r) AS agreeing
    FROM edges AS e
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
    GROUP BY ALL
)
SELECT
    *,
    count(*) OVER (PARTITION BY dataset) AS total
FROM closed
QUALIFY row_number() OVER (
    PARTITION BY dataset
    ORDER BY r DESC, model, layer, neuron, partner_model
) <= $k
ORDER BY dataset, r DESC, model, layer, neuron, partner_model;

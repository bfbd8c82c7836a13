-- What is each neuron's largest correlation, baseline and excess, and who are its partners?
--
-- At most $k neurons a model, in the order of their excess: the upper half of them the most universal ones, the rest
-- evenly chosen among the others.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $k INTEGER = 1000: Neurons of each model at most.
-- $partners INTEGER = 3: Partners listed, the best one of each other model.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $k = 100
WITH placed AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY dataset, model ORDER BY excess DESC, layer, neuron
        ) AS place,
        count(*) OVER (PARTITION BY dataset, model) AS total
    FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
    WHERE ($site IS NULL OR site = $site)
        AND excess IS NOT NULL
),
chosen AS (
    SELECT *
    FROM placed
    WHERE total <= $k
        OR place <= $k // 2
        OR (place - $k // 2 - 1) % ceil((total - $k // 2) / ($k - $k // 2))::BIGINT = 0
),
partners AS (
    SELECT p.dataset, p.model, p.layer, p.neuron,
        list(
            {'model': p.partner_model, 'layer': p.partner_layer, 'neuron': p.partner_neuron, 'r': p.r}
            ORDER BY p.r DESC, p.partner_model
        )[:$partners] AS partners
    FROM neuron_pairs AS p
    SEMI JOIN chosen AS c USING (dataset, model, site, layer, neuron)
    WHERE p.ranked_by = 'signed'
        AND p.rank = 1
        AND ($models IS NULL OR list_contains($models, p.partner_model))
    GROUP BY p.dataset, p.model, p.layer, p.neuron
)
SELECT
    c.dataset,
    c.model,
    c.layer,
    c.neuron,
    c.max_r,
    c.baseline,
    c.excess,
    p.partners,
    c.total
FROM chosen AS c
LEFT JOIN partners AS p USING (dataset, model, layer, neuron)
ORDER BY c.dataset, c.model, c.place;

-- Which neurons of each model are the most universal, who are their partners, and what do they fire on?
--
-- Partners are the best one in each other model, mutual where each is the other's best. Tokens are those of the
-- highest activations, each once; NULL where none were kept.
--
-- $models VARCHAR[] = NULL: Models to compare with each other; NULL: all.
-- $k INTEGER = 10: Neurons of each model.
-- $tokens INTEGER = 8: Tokens of each neuron.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place; NULL: each of them.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $k = 3
WITH chosen AS (
    SELECT *
    FROM excess_correlation(kind := $kind, dataset := $dataset, models := $models)
    WHERE ($site IS NULL OR site = $site)
        AND excess IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY dataset, model ORDER BY excess DESC, layer, neuron
    ) <= $k
),
partners AS (
    SELECT p.dataset, p.model, p.layer, p.neuron,
        list(
            {
                'model': p.partner_model,
                'layer': p.partner_layer,
                'neuron': p.partner_neuron,
                'r': p.r,
                'mutual': b.r IS NOT NULL
            }
            ORDER BY p.r DESC, p.partner_model
        ) AS partners
    FROM neuron_pairs AS p
    SEMI JOIN chosen AS c USING (dataset, model, site, layer, neuron)
    LEFT JOIN neuron_pairs AS b
        ON b.dataset = p.dataset
        AND b.model = p.partner_model
        AND b.site = p.partner_site
        AND b.layer = p.partner_layer
        AND b.neuron = p.partner_neuron
        AND b.partner_model = p.model
        AND b.partner_site = p.site
        AND b.partner_layer = p.layer
        AND b.partner_neuron = p.neuron
        AND b.ranked_by = p.ranked_by
        AND b.rank = 1
    WHERE p.ranked_by = 'signed'
        AND p.rank = 1
        AND ($models IS NULL OR list_contains($models, p.partner_model))
    GROUP BY p.dataset, p.model, p.layer, p.neuron
),
seen AS (
    SELECT dataset, model, layer, neuron, list(token ORDER BY first)[:$tokens] AS tokens
    FROM (
        SELECT a.dataset, a.model, a.layer, a.neuron, a.token, min(a.rank) AS first
        FROM chosen AS c
        LEFT JOIN top_activations AS a USING (dataset, model, site, layer, neuron)
        WHERE a.side = 'highest'
        GROUP BY ALL
    )
    GROUP BY ALL
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
    s.tokens
FROM chosen AS c
LEFT JOIN partners AS p USING (dataset, model, layer, neuron)
LEFT JOIN seen AS s USING (dataset, model, layer, neuron)
ORDER BY c.dataset, c.model, c.excess DESC, c.layer, c.neuron;

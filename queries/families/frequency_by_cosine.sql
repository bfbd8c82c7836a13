-- Do neurons that erase what they read fire more often than those that write it again?
--
-- Layer by layer: the rank correlation (Spearman) of the fraction of active tokens with the cosine of input and output
-- weights, and that fraction at both ends of the cosine. After Gurnee et al. 2024, Universal Neurons in GPT2 Language
-- Models, arXiv 2401.12181, section 5. The query cosine_and_activity shows what lies between.
--
-- $model VARCHAR: A model, as in models.model.
-- $cosine DOUBLE = 0.5: Cosine that counts as writing again, and its negative as erasing.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $cosine = 0.25
WITH measured AS (
    SELECT
        s.dataset,
        s.layer,
        s.fraction_active,
        w.in_out_cosine,
        rank() OVER (PARTITION BY s.dataset, s.layer ORDER BY s.fraction_active) AS lowest_active,
        count(*) OVER (PARTITION BY s.dataset, s.layer, s.fraction_active) AS as_active,
        rank() OVER (PARTITION BY s.dataset, s.layer ORDER BY w.in_out_cosine) AS lowest_cosine,
        count(*) OVER (PARTITION BY s.dataset, s.layer, w.in_out_cosine) AS as_cosine
    FROM neuron_stats AS s
    JOIN neuron_weights AS w USING (model, site, layer, neuron)
    WHERE s.model = $model
        AND s.site = $site
        AND ($dataset IS NULL OR s.dataset = $dataset)
        AND s.fraction_active IS NOT NULL
        AND w.in_out_cosine IS NOT NULL
)
SELECT
    dataset,
    layer,
    count(*) AS neurons,
    -- Ties have the mean of their ranks.
    corr(lowest_active + (as_active - 1) / 2, lowest_cosine + (as_cosine - 1) / 2) AS rank_correlation,
    count(*) FILTER (in_out_cosine <= -$cosine) AS erasing,
    avg(fraction_active) FILTER (in_out_cosine <= -$cosine) AS erasing_active,
    count(*) FILTER (in_out_cosine >= $cosine) AS repeating,
    avg(fraction_active) FILTER (in_out_cosine >= $cosine) AS repeating_active
FROM measured
GROUP BY dataset, layer
ORDER BY dataset, layer;

-- Which share of each model's neurons is universal, by threshold?
--
-- A neuron is universal where its excess correlation, the mean over partner models, is above the threshold. The share
-- is of all neurons, dead ones too. Wants a comparison (`neuronmap compare`) with baselines of the kind.
--
-- $thresholds DOUBLE[] = [0.2, 0.3, 0.5]: Excess correlations to exceed.
-- $min_models INTEGER = 1: Partner models in which the threshold must be exceeded.
-- $kind VARCHAR = 'gaussian': Random basis of the baseline: gaussian, orthogonal or standardised.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $thresholds = [0.2, 0.3]
WITH cut AS (
    SELECT unnest($thresholds) AS threshold
),
each AS (
    SELECT m.model, m.dataset, m.layer, m.neuron, avg(m.max_r - b.mean) AS excess,
        list(m.max_r - b.mean) AS by_model, count(*) AS partner_models
    FROM neuron_matches AS m
    JOIN neuron_baseline AS b
        USING (model, dataset, site, layer, neuron, partner_model, partner_site)
    WHERE b.kind = $kind
        AND m.site = $site
        AND ($dataset IS NULL OR m.dataset = $dataset)
    GROUP BY ALL
)
SELECT
    model,
    dataset,
    threshold,
    max(partner_models) AS partner_models,
    count(*) AS neurons,
    count(*) FILTER (
        excess > threshold
        AND len(list_filter(by_model, lambda x: x > threshold)) >= $min_models
    ) AS universal,
    100 * universal / neurons AS percent,
    avg(excess) AS mean_excess
FROM each, cut
GROUP BY model, dataset, threshold
ORDER BY model, dataset, threshold;

-- What is known of a neuron, and how does it rank in its layer?
--
-- Rank 1 is the most peaked and the most rarely active neuron of the layer.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
WITH ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY dataset ORDER BY kurtosis DESC NULLS LAST) AS kurtosis_rank,
        rank() OVER (PARTITION BY dataset ORDER BY fraction_active NULLS LAST) AS sparsity_rank,
        count(*) OVER (PARTITION BY dataset) AS neurons
    FROM neuron_stats
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND ($dataset IS NULL OR dataset = $dataset)
)
SELECT
    r.dataset,
    r.count,
    r.mean,
    sqrt(r.variance) AS standard_deviation,
    r.skewness,
    r.kurtosis,
    r.kurtosis_rank,
    r.fraction_active,
    r.sparsity_rank,
    r.neurons,
    r.min,
    r.max,
    w.bias,
    w.in_out_cosine,
    w.promoted,
    w.suppressed
FROM ranked AS r
LEFT JOIN neuron_weights AS w USING (model, site, layer, neuron)
WHERE r.neuron = $neuron
ORDER BY r.dataset;

-- What are the statistics and weights of a model's neurons, one row a neuron?
--
-- With more than $k neurons, every second, third, ... neuron is taken, so that at most $k remain.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 5000: Rows at most.
--
-- Example: $model = 'demo-a', $layer = 0
WITH numbered AS (
    SELECT
        s.*,
        row_number() OVER (ORDER BY s.dataset, s.layer, s.neuron) - 1 AS place,
        count(*) OVER () AS total
    FROM neuron_stats AS s
    WHERE s.model = $model
        AND s.site = $site
        AND ($layer IS NULL OR s.layer = $layer)
        AND ($dataset IS NULL OR s.dataset = $dataset)
)
SELECT
    n.dataset,
    n.layer,
    n.neuron,
    n.mean,
    sqrt(n.variance) AS standard_deviation,
    n.skewness,
    n.kurtosis,
    n.fraction_active,
    n.max,
    w.w_in_norm,
    w.w_out_norm,
    w.bias,
    w.in_out_cosine,
    w.vocab_kurtosis,
    n.total
FROM numbered AS n
LEFT JOIN neuron_weights AS w USING (model, site, layer, neuron)
WHERE n.place % ceil(n.total / $k)::BIGINT = 0
ORDER BY n.dataset, n.layer, n.neuron;

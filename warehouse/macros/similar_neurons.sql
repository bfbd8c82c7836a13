CREATE MACRO similar_neurons(
    model, layer, neuron, k := 10, by := 'weights', site := 'mlp', dataset := NULL
) AS TABLE
WITH
weights AS (
    SELECT w.layer, w.neuron, w.w_out
    FROM neuron_weights AS w
    WHERE
        w.model = model
        AND w.site = site
        AND CASE "by"
            WHEN 'weights' THEN true
            WHEN 'statistics' THEN false
            ELSE error('by is weights or statistics, not ' || "by")
        END
),

statistics AS (
    -- Logarithms, because kurtosis and spread differ by orders of magnitude between neurons.
    SELECT
        s.dataset,
        s.layer,
        s.neuron,
        s.mean / stddev_pop(s.mean) OVER (PARTITION BY s.dataset) AS mean,
        ln(s.variance) / stddev_pop(ln(s.variance)) OVER (PARTITION BY s.dataset) AS spread,
        s.skewness / stddev_pop(s.skewness) OVER (PARTITION BY s.dataset) AS skewness,
        ln(s.kurtosis) / stddev_pop(ln(s.kurtosis)) OVER (PARTITION BY s.dataset) AS kurtosis,
        s.fraction_active / stddev_pop(s.fraction_active) OVER (PARTITION BY s.dataset) AS active
    FROM neuron_stats AS s
    WHERE
        s.model = model
        AND s.site = site
        AND s.variance > 0
        AND "by" = 'statistics'
        AND (dataset IS NULL OR s.dataset = dataset)
),

scored AS (
    SELECT
        NULL::VARCHAR AS dataset,
        b.layer,
        b.neuron,
        list_cosine_similarity(a.w_out, b.w_out)::DOUBLE AS similarity
    FROM weights AS a, weights AS b
    WHERE a.layer = layer AND a.neuron = neuron
    UNION ALL
    SELECT
        b.dataset,
        b.layer,
        b.neuron,
        1 / (1 + sqrt(
            -- A measure that is the same for all neurons tells none apart.
            coalesce(pow(a.mean - b.mean, 2), 0) + coalesce(pow(a.spread - b.spread, 2), 0)
            + coalesce(pow(a.skewness - b.skewness, 2), 0)
            + coalesce(pow(a.kurtosis - b.kurtosis, 2), 0)
            + coalesce(pow(a.active - b.active, 2), 0)
        )) AS similarity
    FROM statistics AS a
    INNER JOIN statistics AS b ON a.dataset = b.dataset
    WHERE a.layer = layer AND a.neuron = neuron
)

SELECT
    c.dataset,
    row_number() OVER (
        PARTITION BY c.dataset ORDER BY c.similarity DESC, c.layer, c.neuron
    ) AS rank,
    c.layer,
    c.neuron,
    c.similarity
FROM scored AS c
WHERE
    NOT (c.layer = layer AND c.neuron = neuron)
    AND isfinite(c.similarity)
QUALIFY rank <= k
ORDER BY c.dataset, rank;

COMMENT ON MACRO TABLE similar_neurons IS
'The k neurons of the model most like one. by weights: cosine of the output weights. by statistics: 1 / (1 + distance) over mean, log variance, skewness, log kurtosis and fraction active, each in standard deviations over the model''s neurons, per dataset.';

-- Are neurons that read and write the same direction active more or less often than others?
--
-- Neurons by their in-out cosine: near 1 they strengthen what they read, near -1 they erase it.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers together.
-- $width DOUBLE = 0.25: Width of a bin of the cosine.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    s.dataset,
    floor(w.in_out_cosine / $width) * $width AS cosine_from,
    count(*) AS neurons,
    avg(s.fraction_active) AS fraction_active,
    avg(s.kurtosis) AS kurtosis,
    avg(sqrt(s.variance)) AS standard_deviation,
    avg(w.w_out_norm) AS w_out_norm
FROM neuron_weights AS w
JOIN neuron_stats AS s USING (model, site, layer, neuron)
WHERE w.model = $model
    AND w.site = $site
    AND ($layer IS NULL OR w.layer = $layer)
    AND ($dataset IS NULL OR s.dataset = $dataset)
    AND w.in_out_cosine IS NOT NULL
GROUP BY ALL
ORDER BY s.dataset, cosine_from;

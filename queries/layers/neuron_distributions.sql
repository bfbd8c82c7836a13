-- How are the neurons of each layer spread over the measures?
--
-- Fraction active, kurtosis (its logarithm to base 10), in-out cosine and the kurtosis over the vocabulary, each in
-- bars of equal width over the range that it has in the whole model; the share is that of the layer's neurons.
--
-- $model VARCHAR: A model, as in models.model.
-- $bars INTEGER = 30: Bars a measure.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $bars = 10
WITH long AS (
    SELECT
        s.dataset,
        s.layer,
        unnest([
            {measure: 'fraction_active', value: s.fraction_active},
            {measure: 'log10_kurtosis', value: log10(s.kurtosis)},
            {measure: 'in_out_cosine', value: w.in_out_cosine},
            {measure: 'vocab_kurtosis', value: w.vocab_kurtosis}
        ], recursive := true)
    FROM neuron_stats AS s
    LEFT JOIN neuron_weights AS w USING (model, site, layer, neuron)
    WHERE s.model = $model
        AND s.site = $site
        AND ($dataset IS NULL OR s.dataset = $dataset)
),
ranges AS (
    SELECT
        dataset,
        measure,
        min(value) AS least_value,
        (max(value) - min(value)) / $bars AS width
    FROM long
    WHERE value IS NOT NULL
    GROUP BY ALL
),
placed AS (
    SELECT
        dataset,
        measure,
        layer,
        least_value,
        width,
        coalesce(least(floor((value - least_value) / nullif(width, 0)), $bars - 1), 0) AS bar
    FROM long
    JOIN ranges USING (dataset, measure)
    WHERE value IS NOT NULL
),
counted AS (
    SELECT dataset, measure, layer, least_value, width, bar, count(*) AS neurons
    FROM placed
    GROUP BY ALL
)
SELECT
    dataset,
    measure,
    layer,
    least_value + bar * width AS bar_from,
    least_value + (bar + 1) * width AS bar_to,
    neurons,
    neurons / sum(neurons) OVER (PARTITION BY dataset, measure, layer) AS share
FROM counted
ORDER BY dataset, measure, layer, bar_from;

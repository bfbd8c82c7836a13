-- What are the typical properties of a published table's universal neurons?
--
-- Median and quartiles of each property over the neurons above a threshold of excess correlation. Activation moments
-- are of the value before the activation function.
--
-- $model VARCHAR: A model, as in published_neurons.model.
-- $threshold DOUBLE = 0.5: Excess correlation that must be exceeded.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers together.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    dataset,
    property,
    count(*) AS neurons,
    quantile_cont(value, 0.25) AS lower_quartile,
    median(value) AS median,
    quantile_cont(value, 0.75) AS upper_quartile
FROM (
    SELECT
        dataset,
        mean_max_r,
        mean_baseline,
        excess_correlation,
        w_in_norm,
        bias,
        w_out_norm,
        in_out_cosine,
        l2_penalty,
        mean,
        variance,
        skewness,
        kurtosis,
        fraction_above,
        vocab_mean,
        vocab_variance,
        vocab_skewness,
        vocab_kurtosis
    FROM published_neurons
    WHERE model = $model
        AND site = $site
        AND excess_correlation > $threshold
        AND ($layer IS NULL OR layer = $layer)
        AND ($dataset IS NULL OR dataset = $dataset)
) UNPIVOT (value FOR property IN (COLUMNS(* EXCLUDE (dataset))))
GROUP BY dataset, property
ORDER BY dataset, property;

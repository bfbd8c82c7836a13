-- Do the neurons of a published table with a peaked vocabulary composition promote tokens or suppress them?
--
-- A large kurtosis of cos(unembedding, output weights) means that a neuron acts on few tokens; with a positive
-- skewness it promotes them, with a negative one it suppresses them.
--
-- $model VARCHAR: A model, as in published_neurons.model.
-- $kurtosis DOUBLE = 10: Kurtosis of the vocabulary composition that must be exceeded; 3 for a Gaussian.
-- $threshold DOUBLE = 0.5: Excess correlation that must be exceeded.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a'
SELECT
    dataset,
    count(*) AS peaked,
    count(*) FILTER (vocab_skewness > 0) AS promoting,
    count(*) FILTER (vocab_skewness < 0) AS suppressing,
    avg(layer) FILTER (vocab_skewness > 0) AS promoting_layer,
    avg(layer) FILTER (vocab_skewness < 0) AS suppressing_layer
FROM published_neurons
WHERE model = $model
    AND site = $site
    AND vocab_kurtosis > $kurtosis
    AND excess_correlation > $threshold
    AND ($dataset IS NULL OR dataset = $dataset)
GROUP BY dataset
ORDER BY dataset;

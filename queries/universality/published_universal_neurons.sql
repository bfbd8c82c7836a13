-- How many neurons of a published table are universal, and what share of the model is that?
--
-- Universal are neurons whose excess correlation is above the threshold: the mean over partner models of their largest
-- correlation, less that with rotated partners. The percentage is of all neurons of the model, those too that the
-- table leaves out; it wants an import that was told how many there are (`neuronmap import neurons ... --neurons`).
--
-- $model VARCHAR: A model, as in published_neurons.model.
-- $threshold DOUBLE = 0.5: Excess correlation that counts as universal if it is exceeded.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $threshold = 0.5
SELECT
    dataset,
    count(*) AS published,
    count(*) FILTER (excess_correlation > $threshold) AS universal,
    any_value(model_neurons) AS model_neurons,
    100 * universal / any_value(model_neurons) AS percent
FROM published_neurons
WHERE model = $model
    AND site = $site
    AND ($dataset IS NULL OR dataset = $dataset)
GROUP BY dataset
ORDER BY dataset;

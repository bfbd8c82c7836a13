-- Which neurons look made to raise the logits of a few tokens?
--
-- By the cosines of the output weights with the unembedding of all tokens: a high kurtosis means that few
-- tokens are concerned, a positive skewness that they are raised.
-- After Gurnee et al. 2024, Universal Neurons in GPT2 Language Models, arXiv 2401.12181, section 5, who draw the line
-- at a kurtosis of 10.
--
-- $model VARCHAR: A model, as in models.model.
-- $kurtosis DOUBLE = 10: Kurtosis that is exceeded; 3 is that of a Gaussian.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $kurtosis = 3.5, $k = 10
SELECT
    layer,
    neuron,
    vocab_kurtosis,
    vocab_skewness,
    vocab_variance,
    promoted[1:5] AS tokens
FROM neuron_weights
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND vocab_kurtosis > $kurtosis
    AND vocab_skewness > 0
ORDER BY vocab_kurtosis DESC, layer, neuron
LIMIT $k;

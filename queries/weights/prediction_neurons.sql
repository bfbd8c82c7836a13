-- Which neurons look made to raise or lower a few tokens' logits?
--
-- A high kurtosis of the cosines with the vocabulary means that few tokens are concerned; the skewness tells whether
-- they are promoted (prediction neurons) or suppressed (suppression neurons). After Gurnee et al. 2024, Universal
-- Neurons in GPT2 Language Models, arXiv 2401.12181, section 4.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
SELECT
    layer,
    neuron,
    CASE WHEN vocab_skewness > 0 THEN 'prediction' ELSE 'suppression' END AS kind,
    vocab_kurtosis,
    vocab_skewness,
    vocab_variance,
    CASE WHEN vocab_skewness > 0 THEN promoted ELSE suppressed END[1:5] AS tokens
FROM neuron_weights
WHERE model = $model
    AND site = $site
    AND ($layer IS NULL OR layer = $layer)
    AND vocab_kurtosis IS NOT NULL
ORDER BY vocab_kurtosis DESC, layer, neuron
LIMIT $k;

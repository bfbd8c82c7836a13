-- Which neurons look made to raise one half of the vocabulary and lower the other?
--
-- By a large variance of the cosines of the output weights with the unembedding of all tokens, without the kurtosis
-- of a prediction or suppression neuron. After Gurnee et al. 2024, Universal Neurons in GPT2 Language Models, arXiv
-- 2401.12181, section 5, who name no line for the variance: here it is a share of the neurons of the model.
--
-- $model VARCHAR: A model, as in models.model.
-- $kurtosis DOUBLE = 10: Kurtosis that is not exceeded.
-- $share DOUBLE = 0.01: Share of the neurons that count as having a large variance.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $k = 10
WITH ranked AS (
    SELECT *, percent_rank() OVER (ORDER BY vocab_variance DESC) AS place
    FROM neuron_weights
    WHERE model = $model
        AND site = $site
        AND vocab_variance IS NOT NULL
)
SELECT
    layer,
    neuron,
    vocab_variance,
    vocab_kurtosis,
    vocab_skewness,
    promoted[1:5] AS raised,
    suppressed[1:5] AS lowered
FROM ranked
WHERE place <= $share
    AND vocab_kurtosis <= $kurtosis
    AND ($layer IS NULL OR layer = $layer)
ORDER BY vocab_variance DESC, layer, neuron
LIMIT $k;

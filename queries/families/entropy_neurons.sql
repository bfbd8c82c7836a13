-- Which neurons write much, but nothing that the unembedding reads?
--
-- Such neurons set how certain the prediction is, through the scale of the last normalisation: large output weights
-- (Gurnee et al. 2024, arXiv 2401.12181, section 5) with little variance over the logits, most of it in the effective
-- null space of the unembedding (Stolfo et al. 2024, Confidence Regulation Neurons in Language Models, arXiv
-- 2406.16254). Ranks are those within the layer, from 0 to 1.
--
-- $model VARCHAR: A model, as in models.model.
-- $norm DOUBLE = 0.75: Rank of the norm at least.
-- $variance DOUBLE = 0.25: Rank of the variance over the vocabulary at most.
-- $layer INTEGER = NULL: Layer index, from 0; NULL: all layers.
-- $site VARCHAR = 'mlp': Hooked place.
-- $k INTEGER = 20: Rows at most.
--
-- Example: $model = 'demo-a', $norm = 0.5, $variance = 0.5, $k = 10
WITH ranked AS (
    SELECT
        layer,
        neuron,
        w_out_norm,
        vocab_variance,
        null_share,
        percent_rank() OVER (PARTITION BY layer ORDER BY w_out_norm) AS norm_rank,
        percent_rank() OVER (PARTITION BY layer ORDER BY vocab_variance) AS variance_rank
    FROM neuron_weights
    WHERE model = $model
        AND site = $site
        AND null_share IS NOT NULL
        AND ($layer IS NULL OR layer = $layer)
)
SELECT *
FROM ranked
WHERE norm_rank >= $norm
    AND variance_rank <= $variance
ORDER BY null_share DESC, layer, neuron
LIMIT $k;

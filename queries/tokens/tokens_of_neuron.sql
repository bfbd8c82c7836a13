-- On which tokens is a neuron highest or lowest, and what stands around them?
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $side VARCHAR = 'highest': highest or lowest.
-- $context INTEGER = 40: Characters shown on either side of the token.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
-- $k INTEGER = 20: Ranks a dataset; the recipe's top_k limits them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7, $k = 10
SELECT
    a.dataset,
    a.rank,
    a.value,
    substr(d.text, greatest(t.char_start - $context, 0) + 1, least(t.char_start, $context)) AS before,
    a.token,
    substr(d.text, t.char_end + 1, $context) AS after,
    d.doc_id,
    a.pos
FROM top_activations AS a
JOIN tokens AS t USING (dataset, tokenizer, tok)
JOIN docs AS d ON d.dataset = t.dataset AND d.doc = t.doc
WHERE a.model = $model
    AND a.site = $site
    AND a.layer = $layer
    AND a.neuron = $neuron
    AND a.side = $side
    AND a.rank <= $k
    AND ($dataset IS NULL OR a.dataset = $dataset)
ORDER BY a.dataset, a.rank;

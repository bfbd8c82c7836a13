-- What does a neuron respond to over its whole range, not only at the top?
--
-- Random tokens from each quantile bin, with the text around them: explanations of a neuron should hold on these,
-- not only on its highest values.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER: Neuron, from 0.
-- $context INTEGER = 40: Characters shown on either side of the token.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 1, $neuron = 7
SELECT
    s.dataset,
    s.bin,
    s.value,
    substr(d.text, greatest(t.char_start - $context, 0) + 1, least(t.char_start, $context)) AS before,
    s.token,
    substr(d.text, t.char_end + 1, $context) AS after,
    d.doc_id,
    s.pos
FROM activation_samples AS s
JOIN tokens AS t USING (dataset, tokenizer, tok)
JOIN docs AS d ON d.dataset = t.dataset AND d.doc = t.doc
WHERE s.model = $model
    AND s.site = $site
    AND s.layer = $layer
    AND s.neuron = $neuron
    AND ($dataset IS NULL OR s.dataset = $dataset)
ORDER BY s.dataset, s.bin DESC, s.rank;

-- At which positions of the model's input do neurons fire?
--
-- The rate is firings over tokens and neurons. Wants the table firings (`--keep firings`); firings are values at
-- or above each neuron's recorded threshold, so the rate over all positions is near the fraction that was kept.
--
-- $model VARCHAR: A model, as in models.model.
-- $layer INTEGER: Layer index, from 0.
-- $neuron INTEGER = NULL: Neuron; NULL: all of the layer.
-- $width INTEGER = 16: Positions in a row of the answer.
-- $site VARCHAR = 'mlp': Hooked place.
-- $dataset VARCHAR = NULL: Dataset; NULL: each of them.
--
-- Example: $model = 'demo-a', $layer = 0
WITH fired AS (
    SELECT dataset, tokenizer, tok, value
    FROM firings
    WHERE model = $model
        AND site = $site
        AND layer = $layer
        AND ($neuron IS NULL OR neuron = $neuron)
        AND ($dataset IS NULL OR dataset = $dataset)
),
units AS (
    SELECT CASE WHEN $neuron IS NULL THEN max(width) ELSE 1 END AS neurons
    FROM sites
    WHERE model = $model
        AND site = $site
        AND layer = $layer
),
placed AS (
    SELECT dataset, tokenizer, tok, win_pos // $width * $width AS first_position
    FROM tokens
    WHERE (dataset, tokenizer) IN (SELECT (dataset, tokenizer) FROM fired)
),
seen AS (
    SELECT dataset, first_position, count(*) AS token_count
    FROM placed
    GROUP BY ALL
),
hits AS (
    SELECT dataset, first_position, count(*) AS firings, avg(value) AS mean_value
    FROM fired
    JOIN placed USING (dataset, tokenizer, tok)
    GROUP BY ALL
)
SELECT
    dataset,
    first_position,
    token_count,
    coalesce(firings, 0) AS firings,
    coalesce(firings, 0) / (token_count * neurons) AS rate,
    mean_value
FROM seen
LEFT JOIN hits USING (dataset, first_position)
CROSS JOIN units
ORDER BY dataset, first_position;

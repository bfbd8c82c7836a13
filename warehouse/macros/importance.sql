CREATE MACRO importance(model, site := 'mlp', dataset := NULL) AS TABLE
SELECT
    n.dataset,
    n.layer,
    n.neuron,
    n.write_sd AS importance,
    n.write_rms,
    n.write_sd * n.write_sd
    / nullif(sum(n.write_sd * n.write_sd) OVER (PARTITION BY n.dataset, n.layer), 0) AS share,
    row_number() OVER (
        PARTITION BY n.dataset ORDER BY n.write_sd DESC, n.layer, n.neuron
    ) AS rank
FROM (
    SELECT
        s.dataset,
        s.layer,
        s.neuron,
        w.w_out_norm * sqrt(s.variance) AS write_sd,
        w.w_out_norm * sqrt(s.variance + s.mean * s.mean) AS write_rms
    FROM neuron_stats AS s
    INNER JOIN neuron_weights AS w
        ON s.model = w.model AND s.site = w.site AND s.layer = w.layer AND s.neuron = w.neuron
    WHERE
        s.model = model
        AND s.site = site
        AND s.variance IS NOT NULL
        AND (dataset IS NULL OR s.dataset = dataset)
) AS n
ORDER BY n.dataset, rank;

COMMENT ON MACRO TABLE importance IS
'Neurons by the typical size of what they write to the residual stream: importance is the standard deviation of the activation times the norm of the output weights, for a constant write is but a bias; write_rms counts that too; share is the part of the layer''s summed write variance.';

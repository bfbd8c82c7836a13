CREATE MACRO firing_jaccard(
    model, partner_model, layer := NULL, min_r := -1.0, ranked_by := 'signed', site := 'mlp',
    dataset := NULL
) AS TABLE
WITH
pairs AS (
    SELECT p.*
    FROM neuron_pairs AS p
    WHERE
        p.model = model
        AND p.partner_model = partner_model
        AND p.site = site
        AND p.rank = 1
        AND p.ranked_by = ranked_by
        AND p.r >= min_r
        AND (layer IS NULL OR p.layer = layer)
        AND (dataset IS NULL OR p.dataset = dataset)
),

fired AS (
    SELECT
        f.dataset,
        f.tokenizer,
        f.site,
        f.layer,
        f.neuron,
        list(f.tok) AS toks
    FROM firings AS f
    WHERE f.model = model AND f.site = site
    GROUP BY ALL
),

partner_fired AS (
    SELECT
        f.dataset,
        f.tokenizer,
        f.site,
        f.layer,
        f.neuron,
        list(f.tok) AS toks
    FROM firings AS f
    WHERE f.model = partner_model
    GROUP BY ALL
)

SELECT
    j.dataset,
    j.layer,
    j.neuron,
    j.partner_layer,
    j.partner_neuron,
    j.r,
    j.firings,
    j.partner_firings,
    j.shared_firings,
    j.shared_firings / (j.firings + j.partner_firings - j.shared_firings) AS jaccard
FROM (
    SELECT
        p.dataset,
        p.layer,
        p.neuron,
        p.partner_layer,
        p.partner_neuron,
        p.r,
        len(a.toks) AS firings,
        len(b.toks) AS partner_firings,
        len(list_intersect(a.toks, b.toks)) AS shared_firings
    FROM pairs AS p
    INNER JOIN fired AS a
        ON p.dataset = a.dataset AND p.layer = a.layer AND p.neuron = a.neuron
    INNER JOIN partner_fired AS b
        ON p.dataset = b.dataset
        AND p.partner_site = b.site
        AND p.partner_layer = b.layer
        AND p.partner_neuron = b.neuron
        -- Token numbers are of one tokenizer.
        AND a.tokenizer = b.tokenizer
) AS j
ORDER BY jaccard DESC, j.dataset, j.layer, j.neuron;

COMMENT ON MACRO TABLE firing_jaccard IS
'How far a neuron and its best partner fire at the same tokens: firings of both over firings of either, each above the threshold that its ingest recorded. Both models need firings and one tokenizer.';

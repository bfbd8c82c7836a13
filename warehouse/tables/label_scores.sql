CREATE TABLE label_scores (
    run                VARCHAR NOT NULL,
    model              VARCHAR NOT NULL,
    dataset            VARCHAR NOT NULL,
    tokenizer          VARCHAR NOT NULL,
    site               VARCHAR NOT NULL,
    layer              INTEGER NOT NULL,
    neuron             INTEGER NOT NULL,
    label              VARCHAR NOT NULL,
    lag                INTEGER NOT NULL,
    n                  BIGINT NOT NULL,
    classes            INTEGER NOT NULL,
    variance_reduction DOUBLE,
    adjusted_reduction DOUBLE,
    p                  DOUBLE,
    p_adjusted         DOUBLE,
    best_class         VARCHAR,
    best_count         BIGINT,
    best_reduction     DOUBLE,
    best_difference    DOUBLE,
    top_class          VARCHAR,
    top_count          BIGINT,
    top_mean           DOUBLE,
    mutual_information DOUBLE,
    PRIMARY KEY (model, dataset, site, layer, neuron, label, lag)
);

COMMENT ON TABLE label_scores IS 'How much a label of the tokens explains of one neuron''s values.';
COMMENT ON COLUMN label_scores.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN label_scores.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN label_scores.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN label_scores.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset.';
COMMENT ON COLUMN label_scores.site IS 'Hooked place: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN label_scores.layer IS 'Layer (block) index within its stack, from 0.';
COMMENT ON COLUMN label_scores.neuron IS 'Neuron: index of the unit within the site, from 0 to width - 1.';
COMMENT ON COLUMN label_scores.label IS 'Label, as in token_labels: token, first_letter, ..., docs.NAME; word_class.';
COMMENT ON COLUMN label_scores.lag IS '0: the label of the token itself; 1: that of the token before it in its window; and so on.';
COMMENT ON COLUMN label_scores.n IS 'Tokens with a class and a finite value.';
COMMENT ON COLUMN label_scores.classes IS 'Classes among these tokens.';
COMMENT ON COLUMN label_scores.variance_reduction IS '1 - E[var(x | class)] / var(x), from 0 to 1 (eta squared; Gurnee et al., arXiv 2401.12181); chance alone gives (classes - 1) / (n - 1) on average; NULL for a constant neuron.';
COMMENT ON COLUMN label_scores.adjusted_reduction IS 'The same less what chance gives (epsilon squared): 1 - (1 - variance_reduction) (n - 1) / (n - classes), 0 on average by chance; NULL where every token has a class of its own.';
COMMENT ON COLUMN label_scores.p IS 'Share of permutations of the classes among tokens (for docs.NAME: of the labels among documents, by their means) that explain as much, by a beta distribution with the moments of all permutations. Neighbouring tokens are alike, which it does not know: small values come too easily. NULL where it cannot be told.';
COMMENT ON COLUMN label_scores.p_adjusted IS 'p after Benjamini and Hochberg, over all rows of the run.';
COMMENT ON COLUMN label_scores.best_class IS 'The class that explains most by itself, against all others, among those with at least as many tokens as the analysis asked for; of two classes true, or the later by name.';
COMMENT ON COLUMN label_scores.best_count IS 'Its tokens.';
COMMENT ON COLUMN label_scores.best_reduction IS 'Variance reduction by that class alone: the published score of a binary label.';
COMMENT ON COLUMN label_scores.best_difference IS 'Direction: mean in that class less the mean of all others, in standard deviations of the neuron.';
COMMENT ON COLUMN label_scores.top_class IS 'The class with the largest mean, among those with at least as many tokens.';
COMMENT ON COLUMN label_scores.top_count IS 'Its tokens.';
COMMENT ON COLUMN label_scores.top_mean IS 'Its mean.';
COMMENT ON COLUMN label_scores.mutual_information IS 'Bits that the value, in 8 bins of about as many tokens each, and the class share, less the bias of counting (Miller and Madow), so that it may fall below 0; for labels of position, else NULL.';

CREATE TABLE effects (
    run                VARCHAR NOT NULL,
    experiment         VARCHAR NOT NULL,
    model              VARCHAR NOT NULL,
    dataset            VARCHAR NOT NULL,
    tokenizer          VARCHAR NOT NULL,
    site               VARCHAR NOT NULL,
    unit               INTEGER NOT NULL,
    control            INTEGER NOT NULL,
    grp                VARCHAR,
    layer              INTEGER,
    neuron             INTEGER,
    mode               VARCHAR NOT NULL,
    value              DOUBLE,
    neurons            STRUCT(layer INTEGER, neuron INTEGER, value DOUBLE)[] NOT NULL,
    n                  BIGINT NOT NULL,
    nonfinite          BIGINT NOT NULL,
    docs               BIGINT NOT NULL,
    clean_loss         DOUBLE,
    clean_entropy      DOUBLE,
    clean_rank         DOUBLE,
    loss_change        DOUBLE,
    loss_change_se     DOUBLE,
    entropy_change     DOUBLE,
    entropy_change_se  DOUBLE,
    rank_change        DOUBLE,
    rank_change_se     DOUBLE,
    log_rank_change    DOUBLE,
    log_rank_change_se DOUBLE,
    kl                 DOUBLE,
    kl_se              DOUBLE,
    PRIMARY KEY (experiment, model, dataset, site, unit, control)
);

COMMENT ON TABLE effects IS 'What replacing the activations of a neuron, or a group of them, changes in a model''s predictions of the next token: means over tokens. Random neurons of the same layers stand beside each as controls.';
COMMENT ON COLUMN effects.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN effects.experiment IS 'Name of the experiment: zero, mean, or as it was called.';
COMMENT ON COLUMN effects.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN effects.dataset IS 'Dataset that the model read: joins to docs.';
COMMENT ON COLUMN effects.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN effects.site IS 'Place where values were replaced: mlp, resid_post, ...; joins to sites with model and layer.';
COMMENT ON COLUMN effects.unit IS 'What was replaced, numbered from 0 in experiment and model: a chosen neuron or group, and the controls that stand beside it.';
COMMENT ON COLUMN effects.control IS '0: the chosen neuron or group; 1, 2, ...: random neurons in its place, as many of each layer, none of them chosen.';
COMMENT ON COLUMN effects.grp IS 'Name of the group; NULL where single neurons were replaced.';
COMMENT ON COLUMN effects.layer IS 'Layer of the neuron, from 0; NULL for a group.';
COMMENT ON COLUMN effects.neuron IS 'Neuron: index of the unit within the site; NULL for a group.';
COMMENT ON COLUMN effects.mode IS 'What values were replaced with, at every position: zero, the neuron''s mean over the dataset, or a value.';
COMMENT ON COLUMN effects.value IS 'The value in the neuron''s place; NULL for a group: see neurons.';
COMMENT ON COLUMN effects.neurons IS 'All neurons that were replaced at once, sorted, with the values in their places.';
COMMENT ON COLUMN effects.n IS 'Tokens counted: the rows of tokens that have something before them in their window.';
COMMENT ON COLUMN effects.nonfinite IS 'Tokens left out, because a logit was NaN or infinite.';
COMMENT ON COLUMN effects.docs IS 'Documents with counted tokens.';
COMMENT ON COLUMN effects.clean_loss IS 'Mean loss of the unchanged model at these tokens: minus the log probability of the token that came, in nats.';
COMMENT ON COLUMN effects.clean_entropy IS 'Mean entropy of the unchanged model''s distribution of the next token, in nats.';
COMMENT ON COLUMN effects.clean_rank IS 'Mean rank of the token that came among all of the vocabulary, 1 for the likeliest.';
COMMENT ON COLUMN effects.loss_change IS 'Mean change of the loss in nats: above 0 where the neuron helps.';
COMMENT ON COLUMN effects.loss_change_se IS 'Its standard error, documents being the sample (tokens of one are not independent); NULL for one document.';
COMMENT ON COLUMN effects.entropy_change IS 'Mean change of the entropy in nats: above 0 where the neuron makes predictions sharper.';
COMMENT ON COLUMN effects.entropy_change_se IS 'Its standard error, as that of loss_change.';
COMMENT ON COLUMN effects.rank_change IS 'Mean change of the rank of the token that came (ties count as no worse): above 0 where the neuron helps.';
COMMENT ON COLUMN effects.rank_change_se IS 'Its standard error, as that of loss_change.';
COMMENT ON COLUMN effects.log_rank_change IS 'Mean change of the natural logarithm of that rank.';
COMMENT ON COLUMN effects.log_rank_change_se IS 'Its standard error, as that of loss_change.';
COMMENT ON COLUMN effects.kl IS 'Mean divergence KL(unchanged || changed) of the distributions of the next token, in nats.';
COMMENT ON COLUMN effects.kl_se IS 'Its standard error, as that of loss_change.';

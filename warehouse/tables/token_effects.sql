CREATE TABLE token_effects (
    run             VARCHAR NOT NULL,
    experiment      VARCHAR NOT NULL,
    model           VARCHAR NOT NULL,
    dataset         VARCHAR NOT NULL,
    tokenizer       VARCHAR NOT NULL,
    site            VARCHAR NOT NULL,
    unit            INTEGER NOT NULL,
    control         INTEGER NOT NULL,
    layer           INTEGER,
    neuron          INTEGER,
    side            VARCHAR NOT NULL,
    rank            INTEGER NOT NULL,
    tok             BIGINT NOT NULL,
    clean_loss      DOUBLE NOT NULL,
    clean_entropy   DOUBLE NOT NULL,
    clean_rank      BIGINT NOT NULL,
    loss_change     DOUBLE NOT NULL,
    entropy_change  DOUBLE NOT NULL,
    rank_change     BIGINT NOT NULL,
    log_rank_change DOUBLE NOT NULL,
    kl              DOUBLE NOT NULL,
    PRIMARY KEY (experiment, model, dataset, site, unit, control, tok)
);

COMMENT ON TABLE token_effects IS 'A token whose loss changes most when a neuron or group of the table effects is replaced.';
COMMENT ON COLUMN token_effects.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN token_effects.experiment IS 'Name of the experiment: joins to effects with model, dataset, site, unit and control.';
COMMENT ON COLUMN token_effects.model IS 'Model at a revision (name or name@revision): joins to models.';
COMMENT ON COLUMN token_effects.dataset IS 'Dataset that the model read: joins to docs.';
COMMENT ON COLUMN token_effects.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN token_effects.site IS 'Place where values were replaced: mlp, resid_post, ...';
COMMENT ON COLUMN token_effects.unit IS 'What was replaced, numbered from 0 in experiment and model: a chosen neuron or group, and the controls that stand beside it.';
COMMENT ON COLUMN token_effects.control IS '0: the chosen neuron or group; 1, 2, ...: random neurons in its place.';
COMMENT ON COLUMN token_effects.layer IS 'Layer of the neuron, from 0; NULL for a group.';
COMMENT ON COLUMN token_effects.neuron IS 'Neuron: index of the unit within the site; NULL for a group.';
COMMENT ON COLUMN token_effects.side IS 'raised: the loss is higher without the neuron; lowered: it is lower.';
COMMENT ON COLUMN token_effects.rank IS 'Place among the tokens of its side, 1 for the largest change of the loss; ties go to the earlier token.';
COMMENT ON COLUMN token_effects.tok IS 'The token that was to be predicted: joins to tokens. The one before it, tok - 1, is where the model predicts it.';
COMMENT ON COLUMN token_effects.clean_loss IS 'Loss of the unchanged model: minus the log probability of the token, in nats.';
COMMENT ON COLUMN token_effects.clean_entropy IS 'Entropy of the unchanged model''s distribution, in nats.';
COMMENT ON COLUMN token_effects.clean_rank IS 'Rank of the token in the unchanged model, 1 for the likeliest.';
COMMENT ON COLUMN token_effects.loss_change IS 'Change of the loss in nats.';
COMMENT ON COLUMN token_effects.entropy_change IS 'Change of the entropy in nats.';
COMMENT ON COLUMN token_effects.rank_change IS 'Change of the rank.';
COMMENT ON COLUMN token_effects.log_rank_change IS 'Change of the natural logarithm of the rank.';
COMMENT ON COLUMN token_effects.kl IS 'Divergence KL(unchanged || changed) of the distributions, in nats.';

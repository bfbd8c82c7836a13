CREATE TABLE tokens (
    run        VARCHAR NOT NULL,
    dataset    VARCHAR NOT NULL,
    tokenizer  VARCHAR NOT NULL,
    tok        BIGINT NOT NULL,
    doc        BIGINT NOT NULL,
    pos        INTEGER NOT NULL,
    win        BIGINT NOT NULL,
    win_pos    INTEGER NOT NULL,
    token_id   INTEGER NOT NULL,
    token      VARCHAR NOT NULL,
    char_start INTEGER NOT NULL,
    char_end   INTEGER NOT NULL,
    word       INTEGER,
    special    BOOLEAN NOT NULL,
    PRIMARY KEY (dataset, tokenizer, tok)
);

COMMENT ON TABLE tokens IS 'One token that the reductions count, of one dataset under one tokenizer.';
COMMENT ON COLUMN tokens.run IS 'Run that wrote the row: joins to runs.';
COMMENT ON COLUMN tokens.dataset IS 'Dataset name: joins to docs.';
COMMENT ON COLUMN tokens.tokenizer IS 'Tokenizer with its windowing policy: joins to tokens with dataset and tok.';
COMMENT ON COLUMN tokens.tok IS 'Token''s row number in its dataset and tokenizer, from 0: joins to tokens.';
COMMENT ON COLUMN tokens.doc IS 'Document''s row number in its dataset, from 0: joins to docs.';
COMMENT ON COLUMN tokens.pos IS 'Position in the document''s tokens, from 0.';
COMMENT ON COLUMN tokens.win IS 'Window: the input in which the model saw the token, numbered from 0 in the dataset.';
COMMENT ON COLUMN tokens.win_pos IS 'Position in that window''s input, special tokens and overlap included, from 0.';
COMMENT ON COLUMN tokens.token_id IS 'Id in the vocabulary.';
COMMENT ON COLUMN tokens.token IS 'The token as text: decoded by itself, so that a leading space shows.';
COMMENT ON COLUMN tokens.char_start IS 'First character in docs.text, from 0.';
COMMENT ON COLUMN tokens.char_end IS 'One past the last character in docs.text.';
COMMENT ON COLUMN tokens.word IS 'Index of the word in the document, from 0; NULL between words and for special tokens.';
COMMENT ON COLUMN tokens.special IS 'Whether it is a special token (BOS, CLS, SEP, EOS, ...).';

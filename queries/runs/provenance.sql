-- Where does what is in the warehouse come from?
--
-- One row a run, the newest first: what it holds, when and how fast it was made, on what, with which versions.
--
-- $kind VARCHAR = NULL: tokens, model, weights or activations; NULL: all of them.
--
-- Example: $kind = 'activations'
SELECT
    run,
    kind,
    model,
    dataset,
    created,
    seconds,
    token_count,
    tokens_per_second,
    bytes,
    rows,
    device,
    dtype,
    tolerance,
    nonfinite,
    versions['torch'] AS torch,
    versions['transformers'] AS transformers,
    git_revision
FROM runs
WHERE $kind IS NULL OR kind = $kind
ORDER BY created DESC, run;

-- From which runs was a run computed, directly and indirectly?
--
-- $run VARCHAR: A run id, as in runs.run.
--
-- Example: $run = 'none'
WITH RECURSIVE ancestry AS (
    SELECT $run AS run, 0 AS generation
    UNION
    SELECT unnest(r.parents) AS run, a.generation + 1 AS generation
    FROM ancestry AS a
    JOIN runs AS r USING (run)
)
SELECT max(a.generation) AS generation, run, r.kind, r.model, r.dataset, r.created, r.rows
FROM ancestry AS a
JOIN runs AS r USING (run)
GROUP BY ALL
ORDER BY generation, r.kind, run;

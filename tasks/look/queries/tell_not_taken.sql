-- Keeps which files of a pipeline are not taken, and why; since when, where that changed.
WITH seen AS (SELECT * FROM unnest($2::text[], $3::text[]) AS s (path, why)),
gone AS (
    DELETE FROM store.files_not_taken WHERE pipeline = $1 AND path NOT IN (SELECT path FROM seen)
)
INSERT INTO store.files_not_taken AS f (pipeline, path, why) SELECT $1, path, why FROM seen
ON CONFLICT (pipeline, path) DO UPDATE SET why = excluded.why, since = excluded.since
    WHERE f.why <> excluded.why

-- Keys that are out of the view and not in quarantine, or the other way.
SELECT coalesce(stands.key, said.key) AS key, stands.act AS stands, said.act AS said
FROM (SELECT {key} AS key, s.act FROM {stands} s) stands
FULL JOIN (
    SELECT * FROM (
        SELECT DISTINCT ON (key) key, act, released FROM store.quarantine
        WHERE table_name = {table} ORDER BY key, act DESC
    ) newest WHERE NOT released
) said USING (key)
WHERE stands.act IS DISTINCT FROM said.act ORDER BY 1

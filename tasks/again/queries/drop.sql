-- Drops the chosen rejected records in the act $6; returns which, and the rules they broke.
WITH dropped AS (
    UPDATE store.rejected SET resolved_by = $6 WHERE {chosen} RETURNING identity, batch, rules
)
INSERT INTO store.replays (identity, batch, verdict, rules_before)
SELECT identity, $6, 'dropped', rules FROM dropped RETURNING identity, rules_before AS rules

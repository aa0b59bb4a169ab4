-- Whether a rejected record r waits for a replay, or was dropped; a condition.
(r.resolved_by IS NULL OR EXISTS (
    SELECT FROM store.replays p
    WHERE p.identity = r.identity AND p.batch = r.resolved_by AND p.verdict = 'dropped'
))

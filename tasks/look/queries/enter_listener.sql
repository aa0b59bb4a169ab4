-- Notes that a listener is here; returns whether the broker kept messages for it.
INSERT INTO store.listeners AS l (client_id, pipeline) VALUES ($1, $2)
ON CONFLICT (client_id) DO UPDATE SET pipeline = excluded.pipeline, started_at = clock_timestamp(),
    seen_at = clock_timestamp(), left_at = NULL
RETURNING (SELECT before.left_at IS NULL FROM store.listeners before WHERE before.client_id = $1) AS expected

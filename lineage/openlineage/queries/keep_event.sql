-- Keeps an imported event as it came.
INSERT INTO store.imported_events (
    hash, batch, place, imported_at, event, run_id, happened_at, producer, job, state, kept_facets, error,
    first_entry, last_entry
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

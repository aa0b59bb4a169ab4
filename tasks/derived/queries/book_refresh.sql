-- Books a refresh: what it read is what it produced.
INSERT INTO store.ledger (
    batch, dataset, received_at, received_until, processed_at, read, accepted, rejected, duplicates, filtered,
    way, transformation_id, run_id, writer, first_entry, last_entry, chain_head,
    digest_version, digest_key
) VALUES ($1, $2, $3, $3, $3, $4, $4, 0, 0, 0, $5, $6, $7, $8, $9, $10, $11, $12, $13)

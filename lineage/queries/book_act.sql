-- Books an act that has no source outside.
INSERT INTO store.ledger (batch, dataset, position_id, received_at, received_until, processed_at,
    read, accepted, rejected, duplicates, filtered, way, transformation_id, run_id,
    writer, first_entry, last_entry, chain_head, rejected_sum, digest_version, digest_key,
    raw_digest{column})
VALUES ($1, $2, $3, $4, $4, $5, $16, $17, $18, $19, $20, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
    $21{value})

-- Notes records that a step left out; returns those that were not known.
INSERT INTO store.filtered (identity, batch, raw_batch, sequence, part)
SELECT identity, $1, $2, sequence, part
FROM unnest($3::bytea[], $4::int[], $5::int[]) AS came (identity, sequence, part)
ORDER BY identity, sequence, part ON CONFLICT DO NOTHING RETURNING identity, batch, raw_batch, sequence, part

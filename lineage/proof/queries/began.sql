-- When the record of this store begins.
SELECT least(
    (SELECT sealed_at FROM store.lineage_seals ORDER BY seal LIMIT 1),
    (SELECT processed_at FROM store.ledger ORDER BY batch LIMIT 1)
)

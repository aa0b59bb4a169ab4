-- How many rejected records wait, by dataset and pipeline.
SELECT dataset, pipeline, sum(records)::bigint AS records FROM (
    SELECT dataset, records, (SELECT pipeline FROM store.ledger l WHERE l.batch = o.batch) AS pipeline FROM (
        SELECT dataset, batch, count(*) AS records FROM store.rejected
        WHERE resolved_by IS NULL GROUP BY dataset, batch
    ) o
) w GROUP BY dataset, pipeline

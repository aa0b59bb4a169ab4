-- Whether another pipeline than $1 committed last by transformation $2.
SELECT EXISTS (
    SELECT FROM (
        SELECT max(batch) AS batch FROM store.ledger WHERE pipeline <> $1 GROUP BY pipeline
    ) newest JOIN store.ledger USING (batch) WHERE transformation_id = $2
)

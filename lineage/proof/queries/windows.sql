-- Every $1th batch from $2 on.
SELECT batch FROM (
    SELECT batch, row_number() OVER (ORDER BY batch) AS place FROM store.ledger WHERE batch >= $2
) numbered
WHERE place % $1 = 0 ORDER BY batch

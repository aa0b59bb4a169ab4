-- What all commits read, and what became of it.
SELECT coalesce(sum(read), 0)::bigint AS read, coalesce(sum(accepted), 0)::bigint AS accepted,
    coalesce(sum(rejected), 0)::bigint AS rejected, coalesce(sum(duplicates), 0)::bigint AS duplicates,
    coalesce(sum(filtered), 0)::bigint AS filtered
FROM store.ledger WHERE raw_digest IS NOT NULL

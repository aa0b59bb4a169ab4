-- Seals that bear another store's identity.
SELECT min(seal) AS first, max(seal) AS last, count(*) AS seals FROM store.lineage_seals
WHERE seal >= $1 AND store IS DISTINCT FROM (SELECT id FROM store.identity LIMIT 1) AND (
    store IS NOT NULL
    OR seal > (SELECT seal FROM store.lineage_seals WHERE store IS NOT NULL ORDER BY seal LIMIT 1)
)

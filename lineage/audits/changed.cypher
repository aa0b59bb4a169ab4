// What became known between two times: which relationships, between which datasets?
// param since: moment — after this time
// param until: moment — up to this time
MATCH (a)-[r]->(b)
WHERE r.known_at > $since AND r.known_at <= $until AND r.known_at <= $known_at AND r.valid_from <= $valid_at
WITH type(r) AS relationship, coalesce(a.dataset, a.name, a.kind, a.key) AS source,
    coalesce(b.dataset, b.name, b.kind, b.key) AS target, count(r) AS relationships
RETURN relationship, source, target, relationships
ORDER BY relationship, source, target

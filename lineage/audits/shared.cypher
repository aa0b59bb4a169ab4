// Which other experiments used the same labware or reagents as this one?
// param experiment: string — the experiment's id
MATCH (:Subject {key: 'experiment:' + $experiment})-[mine:USED]->(thing:Subject)<-[theirs:USED]-(other:Subject)
WHERE other.id <> $experiment AND mine.known_at <= $known_at AND theirs.known_at <= $known_at
    AND mine.valid_from <= $valid_at AND theirs.valid_from <= $valid_at
RETURN thing.kind AS kind, thing.id AS shared, collect(DISTINCT other.id) AS experiments
ORDER BY kind, shared

// Which runs stored batches of the datasets that this device writes to?
// param device: string — the device's id
MATCH (:Subject {key: 'device:' + $device})-[about:ABOUT]->(d:Dataset)<-[:PART_OF]-(b:Batch)<-[wrote:WROTE]-(run:Run)
WHERE about.valid_from <= $valid_at AND about.known_at <= $known_at
    AND wrote.valid_from <= $valid_at AND wrote.known_at <= $known_at
RETURN d.key AS dataset, run.key AS run, run.kind AS kind, run.name AS name, count(b) AS batches,
    min(wrote.created_at) AS first_created_us, max(wrote.created_at) AS last_created_us
ORDER BY first_created_us, run

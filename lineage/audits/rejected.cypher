// How many records of each source were rejected, in how many batches?
// A batch of rejected records names its source; when it is folded, the source's day says how many there were.
MATCH (b:Batch)-[part:PART_OF]->(d:Dataset)
WHERE (b.source IS NOT NULL OR b.rejected IS NOT NULL) AND part.valid_from <= $valid_at AND part.known_at <= $known_at
RETURN coalesce(b.source, d.key) AS source, sum(coalesce(b.rejected_batches, 1)) AS batches,
    sum(coalesce(b.rejected, b.rows)) AS records
ORDER BY records DESC, source

-- Notes where reading begins, all parts at once, unless somebody has begun.
WITH first AS (
    INSERT INTO store.progress (pipeline, dataset, part, mark) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING part
)
INSERT INTO store.progress (pipeline, dataset, part, mark)
SELECT $1, $2, other.part, other.mark FROM first, unnest($5::text[], $6::text[]) AS other (part, mark)
ON CONFLICT DO NOTHING

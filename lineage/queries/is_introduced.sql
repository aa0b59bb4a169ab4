-- Whether transformation $2 is in force, and known for all targets $3.
SELECT NOT EXISTS (
    SELECT FROM unnest($3::text[]) AS wanted WHERE NOT EXISTS (
        SELECT FROM store.transformations t
        WHERE t.transformation_id = $2 AND t.source = '' AND t.target = wanted
    )
) AND $2 = (SELECT transformation_id FROM store.reigns WHERE name = $1 ORDER BY reign DESC LIMIT 1)

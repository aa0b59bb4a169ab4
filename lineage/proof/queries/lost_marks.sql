-- Stored buckets of a batch that neither wait to be computed nor were computed since.
SELECT changed.batch, changed.bucket FROM ({changed}) changed
WHERE NOT EXISTS (
    SELECT FROM store.change_marks m
    WHERE m.reader = {reader} AND m.table_name = {table}
      AND m.batch = changed.batch AND m.bucket = changed.bucket
) AND NOT EXISTS (
    SELECT FROM store.lineage_log l
    WHERE l.batch > $1 AND l.relationship_type = 'FEEDS' AND l.source_key = {source} || changed.label
      AND l.target_key = {target} || {bucket_label}{later}
)
ORDER BY 1, 2

-- Writes devices into the register; returns those that are new or differ.
INSERT INTO store.devices AS d (device_id, name, model, site)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g(device_id, name, model, site)
ORDER BY device_id
ON CONFLICT (device_id) DO UPDATE
SET name = excluded.name, model = excluded.model, site = excluded.site, loaded_at = clock_timestamp()
WHERE (d.name, d.model, d.site) IS DISTINCT FROM (excluded.name, excluded.model, excluded.site)
RETURNING device_id

-- Which store a seal was made of, covered by its hash: were the identity changed, the anchors of before would be those
-- of another store. Null in seals of before.
ALTER TABLE store.lineage_seals ADD COLUMN store uuid;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store.identity
    FOR EACH STATEMENT EXECUTE FUNCTION store.refuse_change();

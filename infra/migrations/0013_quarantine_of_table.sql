-- When the keys in quarantine of one table last changed, and which they were at any time: asked with every batch that
-- looks values up in a reference table (`tasks/load/reference.py`).
CREATE INDEX quarantine_of_table ON store.quarantine (table_name, act);

-- What each dataset brought and when: without it to tell a dataset's last hour was to read all that was ever committed.
CREATE INDEX ledger_brought ON store.ledger (dataset, processed_at) WHERE raw_digest IS NOT NULL;

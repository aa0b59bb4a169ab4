-- Where anything was ever rejected: what comes from elsewhere cannot have been rejected before.
CREATE INDEX rejected_location ON store.rejected (dataset, location);

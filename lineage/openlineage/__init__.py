"""OpenLineage: our record as its events, and the events of others as entries of our record."""

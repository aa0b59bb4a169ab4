"""The tables that contracts ask for: made, changed, partitioned."""

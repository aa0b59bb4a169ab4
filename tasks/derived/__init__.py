"""Tables made of stored tables."""

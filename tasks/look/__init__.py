"""Questions to the store: where a row came from, what was rejected, who reads."""

"""Streams: from sources that never end to Postgres."""

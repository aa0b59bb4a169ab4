"""Breaks real services and processes while readings flow, then counts: `make chaos`, see docs/chaos.md."""

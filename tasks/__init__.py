"""The steps: extract, transform, load, report."""

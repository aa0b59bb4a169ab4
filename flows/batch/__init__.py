"""The Prefect flows, and the steps that their runs share."""

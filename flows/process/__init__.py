"""What every process of ours shares: its life, its stores, its retries, its mark on a Prefect server."""

"""What `headwater serve` runs: deployments, warm runs, the watch of robots; what is on the Prefect server."""

"""The worker: lease, lanes and jobs."""

"""Health, deployment checks and exports."""

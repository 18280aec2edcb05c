"""Health, deployment checks, exports and replays of recorded traces."""

"""Forms that change settings."""

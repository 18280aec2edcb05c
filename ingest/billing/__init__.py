"""What the provider billed, compared with what was recorded."""

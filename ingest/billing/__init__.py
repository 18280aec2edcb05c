"""What the provider billed, beside what was recorded."""

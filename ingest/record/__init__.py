"""What runs in the product's process: events, journal, delivery."""

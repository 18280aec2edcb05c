"""What the app reads from and writes to the database, as its viewer."""

"""Data frames, charts and tables; pure."""

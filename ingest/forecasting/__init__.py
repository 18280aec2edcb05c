"""Anomalies, seasonal profiles and forecasts of spend."""

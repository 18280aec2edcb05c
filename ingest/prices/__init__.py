"""Prices in force, the cost of recorded calls, and repricing."""

"""Savings: what the same work would have cost otherwise, why a period was dearer, and what came of a change."""

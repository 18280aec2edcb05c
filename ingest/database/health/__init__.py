"""Judges the state of a deployment: what the database says of itself, part by part, with the fix for each fault."""

from ingest.database.health.deployment import judge_deployment
from ingest.database.health.findings import Finding, Level, describe_age
from ingest.database.health.pipeline import judge_migrations, judge_status

__all__ = ["Finding", "Level", "describe_age", "judge_deployment", "judge_migrations", "judge_status"]

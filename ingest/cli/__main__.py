"""`python -m ingest.cli` is `treering`."""

from ingest.cli import main

main()

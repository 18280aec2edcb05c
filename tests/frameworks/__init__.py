"""Other people's libraries over the openai client: every way of calling leaves one right row.

A module here is a row of the table in `docs/capture.md`, a function of it a cell. `python -m tests.frameworks` runs
each with the real package in an environment of its own, and writes the table.
"""

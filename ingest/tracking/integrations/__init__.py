"""Callbacks and exporters for other people's plumbing; each module imports the package that it is for.

`litellm`, `langchain`, `openai_agents` and `opentelemetry`. A call that `track` or `instrument` watches as well is
recorded once.
"""

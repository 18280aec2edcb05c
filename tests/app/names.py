"""Names and shares that the documents in memory are made of."""

from __future__ import annotations

# name: (provider, share of calls, US$ per million prompt and completion tokens, seconds of latency)
MODELS: dict[str, tuple[str, float, str, str, float]] = {
    "gpt-4o": ("openai", 0.34, "2.50", "10.00", 2.1),
    "gpt-4o-mini": ("openai", 0.31, "0.15", "0.60", 1.2),
    "gpt-5.1": ("openai", 0.12, "1.25", "10.00", 5.4),
    "claude-sonnet-4-5": ("anthropic", 0.09, "3.00", "15.00", 3.3),
    "o4-mini": ("openai", 0.05, "1.10", "4.40", 7.9),
    "gemini-2.5-flash": ("google", 0.04, "0.30", "2.50", 1.4),
    "text-embedding-3-small": ("openai", 0.03, "0.02", "0", 0.2),
    "ft:gpt-4o-mini:living-tree::a1b2": ("openai", 0.02, "0.30", "1.20", 1.3),
}
FEATURES = {"chat": 0.52, "summarize": 0.21, "search": 0.14, "title": 0.08, "moderation": 0.05}
ENVIRONMENTS = {"production": 0.9, "staging": 0.1}

"""Alert rules, their metrics and channels, and the delivery of notifications."""

"""The daily and weekly report."""

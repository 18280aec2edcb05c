"""The daily, weekly and monthly report."""

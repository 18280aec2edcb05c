"""Retention and the archive: months past retention go to Parquet, stay queryable, come back, and can be erased from.

Needs the extra `archive`; nothing of the core imports this package.
"""

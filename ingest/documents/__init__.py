"""The documents that the SQL functions return, each described once."""

"""Demo traffic and recorded traces, loaded through `record_usage`."""

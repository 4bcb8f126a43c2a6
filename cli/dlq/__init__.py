"""`chimera dlq`: dead letters, looked at, and replayed."""

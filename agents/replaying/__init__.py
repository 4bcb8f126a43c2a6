"""Kafka's own history through a candidate: read, joined with what was served, replayed."""

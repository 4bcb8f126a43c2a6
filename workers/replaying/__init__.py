"""Compares a candidate's answers with what was served, and judges it by them. Knows no Kafka."""

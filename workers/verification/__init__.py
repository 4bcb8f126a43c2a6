"""Compares what was compiled with the reference: cases, errors, verdicts. Knows no runtime."""

"""Whether a version that was promoted may stay: its errors and latencies, with their certainty."""

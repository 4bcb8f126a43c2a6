"""Which tier of a version computes a batch: measured order, circuit breakers, the next one when it fails."""

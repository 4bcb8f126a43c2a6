"""Training: rows made ready, one visible loop, checkpoints that resume, and what came of it."""

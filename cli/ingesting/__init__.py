"""`chimera ingest`: served traffic and feedback labels into training data."""

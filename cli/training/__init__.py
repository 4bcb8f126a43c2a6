"""`chimera train`: runs, their progress, and what came of them."""

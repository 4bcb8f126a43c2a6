"""`chimera models`: what the registry holds, and how it gets there."""

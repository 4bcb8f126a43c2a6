"""`chimera infer`: one request as a person gives it, and its answer."""

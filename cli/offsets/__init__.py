"""`chimera offsets`: where a group stands, and moved elsewhere."""

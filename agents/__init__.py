"""Who listens: the Faust app, its transport, lanes, and one agent a file."""

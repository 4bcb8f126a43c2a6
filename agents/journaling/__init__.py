"""A lane's journal: rows beside results, in the same transaction."""

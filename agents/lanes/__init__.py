"""A lane: one input partition from what is fetched to what is committed."""

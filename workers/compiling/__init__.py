"""Makes a version's tiers, verifies and measures them. One module a compiler, each with its import."""

"""Where it rests: databases and artifacts (nothing yet; the registry comes first)."""

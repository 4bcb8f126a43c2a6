"""Where it rests: the registry in Postgres, and what is compiled from its models."""

"""Where it rests: the registry in Postgres; artifacts of models, and the keys that vouch for them."""

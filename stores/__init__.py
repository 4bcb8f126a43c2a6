"""Where it rests: model artifacts and the keys that vouch for them; databases."""

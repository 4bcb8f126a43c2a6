"""`chimera audit` and `chimera witness`: the log verified, and watched from outside."""

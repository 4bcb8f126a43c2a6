"""How a person drives it: the `chimera` commands and the embedded local stack."""

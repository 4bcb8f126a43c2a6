"""Torch modules that a manifest may name as its definition; the settings' allow-list begins here."""

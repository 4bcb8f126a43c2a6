"""Versions that compute what others answered, to be compared; nothing that they do is visible."""

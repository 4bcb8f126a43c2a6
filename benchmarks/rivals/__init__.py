"""The same work by other means, each written as its own manual would have it, at its best settings."""

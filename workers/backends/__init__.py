"""What runs models: one module a runtime, each with its heavy import to itself."""

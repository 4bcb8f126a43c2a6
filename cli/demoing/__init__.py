"""The demo in its parts: its stack, its versions of a model, its traffic, its judge, its tables."""

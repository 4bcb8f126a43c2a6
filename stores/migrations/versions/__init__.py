"""One module a revision, named r<number>_<what>."""

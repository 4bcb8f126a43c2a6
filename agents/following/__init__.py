"""Models as a node follows them: their states, and what it tells of them."""

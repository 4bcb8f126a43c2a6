"""Dead letters, sent back to where they came from, at most once each."""

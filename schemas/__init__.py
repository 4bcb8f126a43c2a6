"""What is said: wire records, settings, the error tree; pure functions, no I/O."""

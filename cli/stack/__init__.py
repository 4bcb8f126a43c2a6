"""The local stack: servers as child processes, their folder, its locks, and what is known of them."""

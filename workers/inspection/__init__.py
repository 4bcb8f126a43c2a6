"""What a stranger's files are allowed to be: read in a process that can do no harm."""

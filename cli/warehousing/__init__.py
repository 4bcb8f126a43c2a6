"""`chimera warehouse` and `chimera sql`: ClickHouse filled, and asked."""

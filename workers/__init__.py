"""Who computes: executor processes, batching, model backends. Knows no Kafka."""

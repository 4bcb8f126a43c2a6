"""The embedded Kafka: its jars, its configuration, its process."""

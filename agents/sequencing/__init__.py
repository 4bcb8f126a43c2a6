"""The audit log's one writer: leaves in sequence, and the checkpoints that sign them."""

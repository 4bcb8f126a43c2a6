"""The audit log: a Merkle log that anybody can verify, as functions of values."""

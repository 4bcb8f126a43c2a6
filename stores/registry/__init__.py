"""The registry: what is known of models, by tenant, in Postgres."""

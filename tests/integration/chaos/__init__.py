"""The proof that Chimera survives: load, faults, and an independent look at what remains.

    Load ── requests ──▸ Kafka ◂── nodes under Supervisor ◂── faults
      └── acknowledged ──▸ Ledger ◂── observe: every topic, afresh, read_committed
                             └── judge: lost, duplicated, mismatched, reordered ...

Nothing here shares code with what it judges, except the names of headers and the catalogue.
`python -m tests.integration.chaos --help` runs campaigns at full size; `test_campaign_*` at a small
one; `test_harness_*` shows that the harness finds what it looks for.
"""

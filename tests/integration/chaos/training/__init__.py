"""The proof that training survives: runs ordered by triggers, agents and trainers killed, a look at the end.

    School ── orders, some of them twice ──▸ training.triggers ◂── agents under Supervisor ◂── kill -9
      │                                                              └── trainers ◂── kill -9
      └── acknowledged ──▸ Ledger ◂── observe: events, rows of the registry, versions, files of weights
                             ├── undisturbed runs of the same configurations
                             └── rules: unended, ended_twice, weights_differ ...

`tests/integration/test_training_campaign.py` plays it small, and sees it fail where it should.
"""

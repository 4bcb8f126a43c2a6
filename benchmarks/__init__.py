"""Benchmarks: ours and the rivals on one broker, one model, the same requests, in one sitting.

`chimera bench throughput|latency|memory|scaling|transactions` runs them from a checkout;
`docs/performance.md` says what they measure and what came out. Nothing here is in the wheel.
"""

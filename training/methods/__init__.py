"""Pruning systems side by side, a file each, all in the same training loop.

A system (`training.methods.system.System`) is its settings: what it asks of a run before the network is built, and the
`training.method.Method` that acts while it trains. `training.methods.registry` lists them.
"""

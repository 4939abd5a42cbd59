"""Timings against peers, at equal accuracy. Run by `python -m benchmarks`."""

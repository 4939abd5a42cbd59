"""The couplings of stored runs: the bias of their estimates, their readings, and their course in time."""

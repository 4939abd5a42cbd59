"""Each certificate as a promise, held against what was measured after it.

promise     the bound η, the cost κ and the gate that a certificate was given for
limits      the records at which the measured coupling and cost went beyond a promise
envelope    the bounding ODE's solution from the flagged state, which a gate must stay below
motion      how far a gate rose above its envelope
violations  the three assumptions of a promise, and when each broke
decide      the verdict on a promise, from its violations
judge       the verdict on every gate that a certificate flagged in a run
as_json     these verdicts, counted and listed for a result file
"""

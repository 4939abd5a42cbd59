"""The motion of pruning gates: the ODE, its domains of attraction, and what is proved about them.

The gates are here; the rest is imported from its own folder: `dynamics.integrators.batched_flow`,
`dynamics.models.complexity`, `dynamics.models.hyperprior`, `dynamics.noise`, ….
"""

from dynamics.gates.bilinear import BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.gates.linear import LinearGate

__all__ = ["BilinearGate", "Gate", "GeneralGate", "LinearGate", "smooth_gate"]

"""How pruning gates move: the ODE, its domains of attraction, and what is proved about them.

The gates are here; the rest is imported from its own room: `dynamics.flow`, `dynamics.complexity`,
`dynamics.hyperprior`, `dynamics.noise`, ….
"""

from dynamics.bilinear import BilinearGate
from dynamics.gate import Gate
from dynamics.general import GeneralGate, smooth_gate
from dynamics.linear import LinearGate

__all__ = ["BilinearGate", "Gate", "GeneralGate", "LinearGate", "smooth_gate"]

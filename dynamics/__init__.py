"""How pruning gates move: the ODE, its domains of attraction, and what is proved about them."""

from dynamics.bilinear import BilinearGate
from dynamics.gate import Gate
from dynamics.linear import LinearGate

__all__ = ["BilinearGate", "Gate", "LinearGate"]

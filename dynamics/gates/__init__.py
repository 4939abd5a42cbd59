"""The gates: their bounding systems, saddles, separatrices and margins."""

from dynamics.gates.bilinear import BilinearGate, MeanBilinearGate
from dynamics.gates.drift import DriftGate
from dynamics.gates.equilibria import Equilibrium
from dynamics.gates.gate import ClosedFormGate, Gate
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.gates.heavy_ball import HeavyBallGate
from dynamics.gates.linear import LinearGate
from dynamics.gates.ode import GateSystem

__all__ = [
    "BilinearGate",
    "ClosedFormGate",
    "DriftGate",
    "Equilibrium",
    "Gate",
    "GateSystem",
    "GeneralGate",
    "HeavyBallGate",
    "LinearGate",
    "MeanBilinearGate",
    "smooth_gate",
]

"""The models that gates are part of: the objective, its complexity and prior, and models with a closed form."""

from dynamics.models.closed_form import GatedSum, gated_regression, teacher_student
from dynamics.models.complexity import Layer, Structure
from dynamics.models.objective import GatedResidualNet

__all__ = ["GatedResidualNet", "GatedSum", "Layer", "Structure", "gated_regression", "teacher_student"]

"""The models that gates are part of: the objective, its complexity and prior, and models with a closed form."""

from dynamics.models.closed_form import GatedSum, gated_regression, teacher_student
from dynamics.models.complexity import Layer, Structure, forward_flops, training_flops
from dynamics.models.hyperprior import cost_from_gamma, gamma_from_cost, log_gamma_from_cost
from dynamics.models.layer_shapes import bottleneck_resnet, chain, dense, resnet
from dynamics.models.objective import GatedResidualNet

__all__ = [
    "GatedResidualNet",
    "GatedSum",
    "Layer",
    "Structure",
    "bottleneck_resnet",
    "chain",
    "cost_from_gamma",
    "dense",
    "forward_flops",
    "gamma_from_cost",
    "gated_regression",
    "log_gamma_from_cost",
    "resnet",
    "teacher_student",
    "training_flops",
]

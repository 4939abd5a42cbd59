"""The assertions of this project, one file a topic; `dynamics.verification` checks it."""

from dynamics.claims import (
    basins,
    bilinear,
    bilinear_mean,
    closed_form,
    complexity,
    drift,
    estimators,
    functions,
    general,
    growing,
    heavy_ball,
    hyperprior,
    hypotheses,
    linear,
    noise,
    objective,
)

__all__ = ["TOPICS"]

#: The topics in the order in which they build on one another. Each has `CLAIMS`, a tuple of `Claim`.
TOPICS = (
    hyperprior,
    objective,
    complexity,
    linear,
    bilinear,
    bilinear_mean,
    functions,
    basins,
    hypotheses,
    growing,
    general,
    noise,
    drift,
    heavy_ball,
    closed_form,
    estimators,
)

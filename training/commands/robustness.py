"""`python -m training robustness`: does the final size depend on the seed and on the starting width?"""

from __future__ import annotations

from dynamics.commands.arguments import parse
from training.experiments.robustness import Robustness, measure

__all__ = ["measure_robustness"]


def measure_robustness(arguments: list[str]) -> None:
    """Make the runs that are missing, and write the result and its table.

    Raises:
        InputError: for bad settings, or a folder that holds runs of other settings.
        SystemExit: after help (0) or bad options (2).
    """
    measure(parse(Robustness, "python -m training robustness", arguments))

"""The option --preset, which decides the other options' defaults and so is read before them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["preset_name"]


def preset_name(arguments: Sequence[str], default: str) -> str:
    """Return the value of --preset.

    Args:
        arguments: of a command line.
        default: where it is not among them.

    Example:
        >>> preset_name(["--seed", "1", "--preset=digits"], "cifar10-quick")
        'digits'
    """
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--preset="):
            return argument.partition("=")[2]
    return default

"""The settings by which runs count as alike: all but those that say where and how fast a run was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.engine.config import HOST_ONLY

__all__ = ["shared_settings"]


def shared_settings(settings: Mapping[str, Any], *apart: str) -> dict[str, Any]:
    """Return the settings that runs must have in common to be put together.

    Args:
        settings: what a run's config.json holds.
        apart: names of further settings in which the runs may differ, such as "seed".

    Example:
        >>> shared_settings({"nu": 0.5, "seed": 3, "device": "cpu"}, "seed")
        {'nu': 0.5}
    """
    return {name: value for name, value in settings.items() if name not in (*HOST_ONLY, *apart)}

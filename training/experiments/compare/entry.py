"""One method with its settings, as it is asked for: NAME, or NAME:SETTING=VALUE,SETTING=VALUE."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from dynamics.models.complexity import Structure
from training.errors import InputError
from training.experiments.compare.settings import Compare
from training.methods.after_training import AfterTraining
from training.methods.amount import ratio_for_macs
from training.methods.base import MethodSettings
from training.methods.registry import METHODS, TARGETS, method

__all__ = ["Entry", "entry"]


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        label: as it was asked for.
        settings: all of the method's.
    """

    label: str
    settings: MethodSettings

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return self.label.replace(":", ",")

    @property
    def pretrained(self) -> bool:
        """Whether it prunes a network that was trained without pruning."""
        return isinstance(self.settings, AfterTraining)


def entry(text: str, compare: Compare, full: Structure) -> Entry:
    """Return the method that a text asks for; what the text leaves open follows from the comparison.

    A method with a target gets the comparison's share, one with a ratio of units the ratio that leaves this share, one
    that retrains the comparison's epochs.

    Args:
        text: NAME[:SETTING=VALUE,…].
        compare: target and epochs of retraining.
        full: structure of the network.

    Raises:
        InputError: for an unknown method or setting, a value out of range, or a share that no ratio gives.
    """
    name, colon, given = text.partition(":")
    if name not in METHODS:
        raise InputError(f"methods must be among {', '.join(METHODS)}; got {name!r}")
    known = {field.name for field in fields(METHODS[name])}  # type: ignore[arg-type]
    settings = _parsed(name, colon, given)
    try:
        if "retrain" in known:
            settings.setdefault("retrain", compare.retrain)
        target = TARGETS.get(name)
        if target is not None and target not in settings:
            settings[target] = ratio_for_macs(compare.share, full) if target == "ratio" else compare.share
        return Entry(text, method(name, **settings))
    except InputError as error:
        raise InputError(f"method {text}: {error}") from None


def _parsed(name: str, colon: str, given: str) -> dict[str, Any]:
    hints = {key: hint for key, hint in get_type_hints(METHODS[name]).items() if key != "name"}
    found: dict[str, Any] = {}
    for part in re.split(r",(?=\s*\w*=)", given) if colon else []:  # a rule's name has a comma of its own
        key, equals, value = part.partition("=")
        if not equals or key not in hints or key in found:
            raise InputError(
                f"method {name} must be followed by :SETTING=VALUE,…, each once, of {', '.join(hints) or 'none'}; "
                f"got {part!r}"
            )
        found[key] = _value(f"{key} of method {name}", hints[key], value)
    return found


def _value(what: str, hint: Any, text: str) -> Any:
    """A text as the first of int, float and text that the setting may be.

    Example:
        >>> _value("first", float | None, "0.2"), _value("criterion", str, "l1"), _value("retrain", int, "5")
        (0.2, 'l1', 5)
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in (int, float, str):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    names = " or ".join(kind.__name__ for kind in (int, float, str) if kind in kinds)
    raise InputError(f"{what} must be {names or 'left as it is: it cannot be set here'}; got {text!r}")

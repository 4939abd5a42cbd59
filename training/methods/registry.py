"""The methods by name."""

from __future__ import annotations

from training.errors import InputError
from training.methods.base import MethodSettings
from training.methods.certified import Certified
from training.methods.channel_masking.method import ChannelMasking
from training.methods.layer_pruning import LayerPruning
from training.methods.library import Library
from training.methods.parsimonious import Parsimonious
from training.methods.prune_and_retrain import PruneAndRetrain
from training.methods.smaller import Smaller
from training.methods.snacs.method import Snacs
from training.methods.unpruned import Unpruned
from training.methods.while_training import WhileTraining

__all__ = ["METHODS", "TARGETS", "method"]

#: Name → class of its settings.
METHODS: dict[str, type[MethodSettings]] = {
    s.name: s
    for s in (
        *(Unpruned, Smaller, WhileTraining, PruneAndRetrain, Library),
        *(ChannelMasking, Snacs, Parsimonious, LayerPruning, Certified),
    )
}

#: Methods that are told how much to leave → the setting that says so: "share" of the multiply–accumulates that stays,
#: or "ratio" of every group's units that leaves. The others find their own amount.
TARGETS = {
    "smaller": "share",
    "while-training": "ratio",
    "prune-and-retrain": "ratio",
    "torch-pruning": "share",
    "channel-masking": "share",
}


def method(name: str, **settings: object) -> MethodSettings:
    """Return a method's settings, some of them given.

    Raises:
        InputError: for an unknown name or setting, or a setting out of range.
    """
    if name not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    try:
        return METHODS[name](**settings)
    except TypeError as error:
        raise InputError(f"settings of method {name!r}: {error}") from None

"""Settings that were edited by hand: each is named that is of another kind than it can be."""

import json
from dataclasses import fields

import pytest

from training.certificates.tracker import TrackerSettings
from training.engine.config import PRESETS, PruneSettings, RunConfig, from_json, to_json
from training.errors import InputError

KINDS = [(RunConfig, None), (TrackerSettings, "tracker"), (PruneSettings, "prune")]
NAMES = [
    (group, field.name) for kind, group in KINDS for field in fields(kind) if field.name not in ("tracker", "prune")
]


@pytest.mark.parametrize("group, name", NAMES)
def test_a_value_of_another_kind_is_named(group, name):
    settings = json.loads(json.dumps(to_json(PRESETS["digits"])))
    place = settings if group is None else settings[group]
    for wrong in ([1], {}, "abc" if not isinstance(place[name], str | None) else 7):
        place[name] = wrong
        full = name if group is None else f"{group}.{name}"
        with pytest.raises(InputError, match=rf"^{full} must be .*; got ") as refused:
            from_json(settings)
        assert "another version" not in str(refused.value)


@pytest.mark.parametrize(
    "name, value", [("epochs", 1.5), ("epochs", True), ("lr", True), ("ungated", 1), ("seed", None)]
)
def test_near_kinds_are_told_apart(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be "):
        from_json(to_json(PRESETS["digits"]) | {name: value})


def test_a_whole_number_is_a_number():
    assert from_json(to_json(PRESETS["digits"]) | {"lr": 1}).lr == 1

"""All runs of a comparison, each looked at before the first is trained.

Of every method the network is built, on the CPU, and what acts on it is made: whatever a method refuses (a network that
it cannot handle, a target that no architecture meets) it refuses here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from training.data.data_sets import load
from training.data.source import Source
from training.engine.build import network_of
from training.engine.config import RunConfig, fingerprint
from training.engine.loop import Training
from training.errors import InputError
from training.experiments.compare.entry import Entry, entry
from training.experiments.compare.one_run import Run, check_folder
from training.experiments.compare.settings import Compare
from training.gating.network_structure import structure_of
from training.methods.registry import METHODS
from training.methods.unpruned import Unpruned
from training.runtime.environment import environment

__all__ = ["Plan", "planned"]


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        compare: what was asked for.
        provenance: of the data.
        entries: the methods, the one without pruning first.
        runs: of each method, one a seed.
    """

    compare: Compare
    provenance: str
    entries: list[Entry]
    runs: list[list[Run]]

    def waves(self) -> list[list[Run]]:
        """Return the runs in an order in which each may use those of earlier waves; within a wave any order will do."""
        every = [run for runs in self.runs for run in runs]
        return [[run for run in every if run.first is None], [run for run in every if run.first is not None]]


def planned(compare: Compare) -> Plan:
    """Return the runs of a comparison.

    Raises:
        InputError: for whatever would stop one of them, except divergence.
    """
    source = load(compare.data, compare.data_folder)
    base = replace(compare.base(compare.seed), device="cpu", compile=False)
    if base.batch > len(source.train_labels):
        raise InputError(f"batch must be ≤ {len(source.train_labels)}, the training images; got {base.batch}")
    full = structure_of(network_of(base, source), source.shape)
    entries = [entry(text, compare, full) for text in _names(compare)]
    for i, each in enumerate(entries):
        if any(each.settings == before.settings for before in entries[:i]):
            raise InputError(f"methods must differ; {each.label!r} is another name of one before it")
    for each in entries:
        _check(each, base, source)
    seeds = range(compare.seed, compare.seed + compare.seeds)
    command = environment()["command"]
    runs = [[_run(each, compare, seed, source, command) for seed in seeds] for each in entries]
    for run in (run for of_entry in runs for run in of_entry):
        check_folder(run)
    return Plan(compare, source.provenance, entries, runs)


def _names(compare: Compare) -> list[str]:
    """What is asked for, with the network that is not pruned in front."""
    names = list(compare.methods) or list(METHODS)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"methods must be named once each; {name!r} is there {names.count(name)} times")
    return [Unpruned.name, *(name for name in names if name != Unpruned.name)]


def _check(each: Entry, base: RunConfig, source: Source) -> None:
    try:
        config = each.settings.run_config(base, source)
        Training(config, network_of(config, source), source, each.settings.build)
    except InputError as error:
        hint = "" if each.label == Unpruned.name else "; --methods can leave it out"
        raise InputError(f"method {each.label}: {error}{hint}") from None


def _run(each: Entry, compare: Compare, seed: int, source: Source, command: str) -> Run:
    base = compare.base(seed)
    config = each.settings.run_config(base, source)
    where = f"seed{seed}"
    folder = compare.folder / each.folder / where
    same = fingerprint(replace(config, epochs=base.epochs)) == fingerprint(base)
    first: Path | None = compare.folder / Unpruned.name / where if each.pretrained and same else None
    return Run(each.label, each.settings, replace(config, out=folder), folder, first, command)

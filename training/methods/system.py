"""What a pruning system is to whoever runs several of them: its settings, and what they make of a run."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from training.data.source import Source
from training.engine.build import network_of
from training.engine.config import RunConfig
from training.engine.loop import Training
from training.engine.method import Method, RunContext
from training.runtime.process_group import ALONE, Ranks

__all__ = ["System", "training_with"]


@runtime_checkable
class System(Protocol):
    """A frozen dataclass of settings, each checked when it is made.

    Attributes:
        name: unique among systems.
    """

    name: ClassVar[str]

    def run(self, config: RunConfig, source: Source) -> RunConfig:
        """The settings of the run that this system needs: more epochs, another width.

        Args:
            config: what all systems that are compared have in common.
            source: the data.

        Raises:
            InputError: where no run can give what is asked for.
        """
        ...

    def method(self, setting: RunContext) -> Method | None:
        """What acts while the network trains.

        Raises:
            InputError: for a network that the system cannot handle, or a target that it cannot meet.
        """
        ...


def training_with(system: System, config: RunConfig, source: Source, ranks: Ranks = ALONE) -> Training:
    """A run of one system, from its first step; everything that can be wrong with its settings has then been seen.

    Args:
        system: which one.
        config: what all systems that are compared have in common.
        source: the data, on the device.
        ranks: the processes that train together.

    Raises:
        InputError: for settings, a network or a target that the system cannot work with.
    """
    config = system.run(config, source)
    return Training(config, network_of(config, source), source, ranks=ranks, method=system.method)

"""The settings of a pruning method, and the run that follows from them."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from training.data.source import Source
from training.engine.build import network_of
from training.engine.config import RunConfig
from training.engine.loop import Training
from training.engine.method import Method, RunContext
from training.runtime.process_group import ALONE, Ranks

__all__ = ["MethodSettings", "training_run"]


@runtime_checkable
class MethodSettings(Protocol):
    """A frozen dataclass of settings, each checked when it is made.

    Attributes:
        name: unique among methods.
    """

    name: ClassVar[str]

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings of the run that this method needs: more epochs, another width.

        Args:
            config: what all methods that are compared have in common.
            source: the data.

        Raises:
            InputError: where no run can give what is asked for.
        """
        ...

    def build(self, context: RunContext) -> Method:
        """Return what acts while the network trains.

        Args:
            context: the parts of the run that it acts on.

        Raises:
            InputError: for a network that the method cannot handle, or a target that it cannot meet.
        """
        ...


def training_run(settings: MethodSettings, config: RunConfig, source: Source, ranks: Ranks = ALONE) -> Training:
    """Return a run of one method, at its first step; everything that can be wrong with its settings has then been seen.

    Args:
        settings: of the method.
        config: what all methods that are compared have in common.
        source: the data, on the device.
        ranks: the processes that train together.

    Raises:
        InputError: for settings, a network or a target that the method cannot work with.
    """
    config = settings.run_config(config, source)
    return Training(config, network_of(config, source), source, settings.build, ranks=ranks)

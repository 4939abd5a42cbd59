"""The part that all methods with gates share: removal, counts, and the shapes in a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from training.engine.method import Method, RunContext
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import Shrunk, restore, shrink
from training.gating.self_check import check_removal

__all__ = ["PruningMethod", "restored_gates"]


def restored_gates(
    network: nn.Module, optimizer: torch.optim.Optimizer | None, gates: Gates, state: dict[str, Any]
) -> Shrunk:
    """Remove from a full network what a saved one lacked, and take over its θ.

    Args:
        network: gated, nothing removed from it.
        optimizer: of its weights, or None.
        gates: of the network.
        state: what `PruningMethod.state_dict` gave.

    Raises:
        KeyError: for the state of another method.
        ValueError: for the state of a network with another number of gates.
    """
    if state["total"] != gates.total:
        raise ValueError(f"total must be {gates.total} gates, as this network has; got {state['total']}")
    shrunk = restore(network, optimizer, gates, state["origin"])
    with torch.no_grad():
        gates.theta.copy_(state["theta"])
    return shrunk


class PruningMethod(Method):
    """A method whose network has gates, which may leave for good.

    Args:
        context: what the method acts on.
        start: θ of every gate at the start, in (0, 1]; 1 where gates only say what is there and what may leave.

    Attributes:
        gates: what may leave, and is still there.
        network, optimizer: of the context; both lose what `remove` removes.

    Raises:
        InputError: for a network from which removing units or branches differs from masking them; it is tried on
            copies, before anything is trained (`training.gating.self_check`).
    """

    gates: Gates

    def __init__(self, context: RunContext, start: float = 1.0) -> None:
        super().__init__(context)
        self.gates = Gates(self.network, start).to(self.config.device)  # type: ignore[arg-type]
        check_removal(self.network, self.shape, self.optimizer)

    def before_evaluation(self) -> None:
        """Take the masks away: everything that is left is on."""
        self.gates.open()

    def remove(self, going: Bool[np.ndarray, " gate"]) -> Shrunk:
        """Remove gates for good, with all that follows them; see `training.gating.dependents` for what goes along.

        Args:
            going: which go; the same in all processes. [gate]

        Raises:
            RanksDifferError: if it is not.
        """
        self.ranks.check_equal("θ and the gates to be removed", self.gates.theta, torch.as_tensor(going))
        shrunk = shrink(self.network, self.optimizer, self.gates, going)
        self.after_removal(shrunk)
        return shrunk

    def after_removal(self, shrunk: Shrunk) -> None:
        """Bring what depends on the gates in step with a removal."""
        if len(shrunk.removed):
            self.structure = structure_of(self.network, self.shape, self.full)

    def counts(self) -> dict[str, float | int]:
        """Return how much is on: MACs and parameters of the deterministic network, against the full one."""
        decided = self.gates.decided().double().cpu().numpy()
        branch = self.structure.is_branch
        return {
            "units_on": int(decided[~branch].sum()),
            "layers_on": int(decided[branch].sum()),
            "units_left": int((~branch).sum()),
            "layers_left": int(branch.sum()),
            "macs": float(self.structure.macs(decided)),
            "macs_full": float(self.full.full_macs),
            "parameters": float(self.structure.parameters(decided)),
            "parameters_full": float(self.full.full_parameters),
        }

    def shared_tensors(self) -> Sequence[Tensor]:
        """Return θ."""
        return (self.gates.theta,)

    def state_dict(self) -> dict[str, Any]:
        """Return θ, and which of the first gates are left."""
        return {"theta": self.gates.theta.detach(), "origin": self.gates.origin, "total": self.gates.total}

    def restore(self, state: dict[str, Any]) -> None:
        """Give a full network the shapes that the saved one had, and take over the method's state.

        The weights' and the optimizer's states can be loaded only after this.

        Raises:
            KeyError: for the state of another method.
            ValueError: for the state of a network with another number of gates.
        """
        self.after_removal(restored_gates(self.network, self.optimizer, self.gates, state))

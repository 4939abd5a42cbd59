"""Processes that train one network together, one device each, exchange sums and check that they agree.

Every process (rank) holds the whole network, the gates and the optimizers. Of each batch it takes its share
(`training.runtime.shard`); everything else it does as the others do, from the same random states. So the ranks stay
alike bit for bit, and are together one process with the whole batch, up to the rounding of sums:

- each draws the masks of the whole batch and the order of the whole epoch, and takes its rows;
- batch normalisation uses the statistics of the whole batch (`training.runtime.sync_batch_norm`);
- the estimators of D see the samples of all (`training.engine.gate_learner`);
- with L_r the mean loss of rank r's share, what descends is L = mean of L_r. Through the shared statistics rank r's
  backward pass brings ∂(Σ_s L_s)/∂(what rank r holds), size times ∂L: the mean over ranks of the weights' gradients is
  ∂L/∂w, and the mean of the ranks' `Gates.difference()` is D̂, the sum over the whole batch of ∂L/∂ξ.

Gradients travel in one message. `DistributedDataParallel` is not used: it keeps the parameters that it was made with,
and after a removal the network has others.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, distributed

from training.errors import InputError
from training.runtime.shard import Share

__all__ = ["ALONE", "Ranks", "RanksDifferError"]


class RanksDifferError(RuntimeError):
    """Disagreement of processes in what must be equal: a defect, or machines with different files or software."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone by default, and then every operation does nothing.

    All ranks must call the same operations in the same order. Use it as a context: leaving it ends the group.

    Attributes:
        rank: of this process, 0 to size − 1.
        size: number of processes, ≥ 1.
        device: of this process.

    Example:
        >>> with Ranks.of_environment("cpu") as ranks:
        ...     ranks.size, ranks.first, ranks.share.of(64)
        (1, True, slice(0, 64, None))
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def of_environment(cls, device: str = "cpu", timeout: timedelta = timedelta(minutes=10)) -> Ranks:
        """Join the processes that torchrun started; alone where it did not.

        Messages go through gloo between CPUs, through NCCL between GPUs. Of a machine's GPUs each process takes one.

        Args:
            device: "cpu" or "cuda" (alone: any name that torch knows).
            timeout: how long to wait for the others, to meet and at every message, before giving up.

        Raises:
            InputError: for a device on which nothing can be computed here, variables of torchrun that are missing or
                no numbers, a device that ranks cannot share out, or fewer GPUs than processes on this machine.
        """
        size = _variable("WORLD_SIZE", 1)
        if size <= 1:
            return cls(device=_usable(device))
        rank, local = _variable("RANK"), _variable("LOCAL_RANK")
        if device not in ("cpu", "cuda"):
            raise InputError(f"device must be cpu or cuda where several processes train together; got {device!r}")
        if not distributed.is_available():
            raise InputError("this build of torch has no torch.distributed: start one process, without torchrun")
        if device == "cuda":
            if torch.cuda.is_available() and local >= torch.cuda.device_count():
                raise InputError(
                    f"nproc-per-node must be ≤ {torch.cuda.device_count()}, this machine's number of GPUs; "
                    f"got a process number {local + 1}"
                )
            device = f"cuda:{local}"
        own = _usable(device)
        if own.type == "cuda":
            torch.cuda.set_device(own)
        backend = "nccl" if own.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend, timeout=timeout, device_id=own if own.type == "cuda" else None, rank=rank, world_size=size
        )
        return cls(rank, size, own)

    @property
    def first(self) -> bool:
        """Return whether this is the rank that writes files, prints and draws."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """Return the part of every batch that this rank takes."""
        return Share(self.rank, self.size)

    def check_batch(self, batch: int) -> None:
        """Refuse a batch of which the ranks' shares would differ: a mean of their means would not be the mean.

        Raises:
            InputError: if the number of processes does not divide the batch.
        """
        if batch % self.size:
            raise InputError(f"batch must be a multiple of {self.size}, the number of processes; got {batch}")

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place, in one message.

        Args:
            tensors: of the same shapes on all ranks, of one type.
        """
        self._reduce(list(tensors), self.size)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place, in one message.

        Args:
            tensors: of the same shapes on all ranks, of one type.
        """
        self._reduce(list(tensors), 1)

    @torch.no_grad()
    def _reduce(self, tensors: list[Tensor], divisor: int) -> None:
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        if flat.numel():
            distributed.all_reduce(flat)
        if divisor != 1:
            flat /= divisor
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of the whole batch from each rank's, in the batch's order, without gradient.

        Args:
            rows: [share, …], as many on each rank.

        Returns:
            [batch, …]
        """
        rows = rows.detach()
        if self.size == 1:
            return rows
        whole = rows.new_empty(self.size, *rows.shape)
        distributed.all_gather(list(whole), rows.contiguous())
        return whole.flatten(0, 1)

    def broadcast(self, values: Any) -> Any:
        """Return what the first rank holds, on all ranks.

        Args:
            values: on the first rank, tensors on the CPU and plain values, in lists and dictionaries; on the others,
                anything.
        """
        if self.size == 1:
            return values
        buffer = io.BytesIO()
        if self.first:
            torch.save(values, buffer)
        length = torch.tensor(buffer.tell(), device=self.device)
        distributed.broadcast(length, src=0)
        data = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        if self.first:
            data.copy_(torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8))
        distributed.broadcast(data, src=0)
        return torch.load(io.BytesIO(data.cpu().numpy().tobytes()), weights_only=True)

    def check_equal(self, what: str, *parts: Tensor | str | int) -> None:
        """Make sure that all ranks hold the same, bit for bit.

        Ranks that were to train one network and do not (one removed a gate that another kept) would go on without a
        complaint, or wait for each other for ever. Compared is a digest, so this costs one small message, and on a
        GPU a copy to the host.

        Args:
            what: for the message.
            parts: tensors (shape and type count), text or numbers.

        Raises:
            RanksDifferError: on every rank.
        """
        if self.size == 1:
            return
        digests = self.gather(torch.tensor([_digest(parts)], device=self.device)).tolist()
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise RanksDifferError(f"{what} must be the same in all processes; rank 0's differ from those of {others}")

    def wait(self) -> None:
        """Wait until all ranks have called this."""
        self.check_equal("the place in the program", "wait")

    def close(self) -> None:
        """Leave the group of processes, without waiting for the others."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait()  # no rank's last message is lost; after an error the others may be gone
        self.close()


#: The only process.
ALONE = Ranks()


def _digest(parts: Iterable[Tensor | str | int]) -> int:
    """Return 63 bits of a hash of all parts."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(f"{part.dtype}{list(part.shape)}".encode())
            sha.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            sha.update(f"{type(part).__name__}{len(str(part))}{part}".encode())
    return int.from_bytes(sha.digest()[:8], "big") >> 1


def _usable(name: str) -> torch.device:
    """Return the device, after computing something on it."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError):  # the second is how a build without CUDA answers
        raise InputError(f"device {name!r} is not usable here: use cpu, or cuda where torch has it") from None
    return torch.device(name)


def _variable(name: str, default: int | None = None) -> int:
    """Return a number that torchrun puts into the environment."""
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdigit():
        got = "nothing" if text is None else repr(text)
        raise InputError(f"variable {name} must be a number ≥ 0, as torchrun sets it; got {got}")
    return int(text)

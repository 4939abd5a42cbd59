"""Checkpoints of a run are written atomically; the last two are kept, each checked against the digest in its name.

    checkpoints/gated-00001170-1f6b0c2a9d3e4f50.pt        network, steps done, beginning of the file's SHA-256

A file whose contents do not give the digest in its name is damaged, and the one before it is used. The files are plain
`torch.save` files of tensors, numbers and strings: `torch.load(path, weights_only=True)` reads them.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from training.errors import InputError
from training.runtime.atomic_files import write_atomically
from training.runtime.readable import check_file

__all__ = ["KEPT", "Checkpoints", "read"]

KEPT = 2  # how many of a run stay
FORMAT = "pruning-dynamics run 1"
_DIGITS = 16  # of the digest, in the name
_NAME = re.compile(rf"(?P<network>[a-z]+)-(?P<step>\d{{8,}})-(?P<digest>[0-9a-f]{{{_DIGITS}}})\.pt")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one network of a run.

    Args:
        folder: where they are; made when the first is written.
        network: "gated" or "ungated".
        warn: called with a message for each damaged file.
    """

    folder: Path
    network: str
    warn: Callable[[str], None] = print

    def write(self, step: int, state: dict[str, Any]) -> Path:
        """Write a state; when this returns it is on the disk, and all but the last `KEPT` are gone."""
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "network": self.network, "step": step, "state": state}, buffer)
        data = buffer.getvalue()
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{self.network}-{step:08d}-{_digest(data)}.pt"
        write_atomically(path, data, temporary=path.with_suffix(".partial"), sync=True)
        others = [other for other in self.paths() if other != path]
        later = [other for other in others if _step(other) > step]  # damaged, or the run would have resumed from it
        for old in later + [other for other in others if other not in later][KEPT - 1 :]:
            old.unlink()
        for lost in self.folder.glob(f"{self.network}-*.partial"):  # of a run that was killed while writing
            lost.unlink()
        return path

    def paths(self) -> list[Path]:
        """Return the paths of all checkpoints of the network, newest first."""
        found = ((match, path) for path in self.folder.glob("*.pt") if (match := _NAME.fullmatch(path.name)))
        mine = [
            # An epoch's end is no step: the later of two with as many steps is known by its time.
            (int(match["step"]), path.stat().st_mtime_ns, path)
            for match, path in found
            if match["network"] == self.network
        ]
        return [path for *_, path in sorted(mine, reverse=True)]

    def last(self) -> tuple[int, dict[str, Any]] | None:
        """Return steps done and state of the newest intact checkpoint; None if there is none.

        Damaged and foreign files are skipped with a warning.
        """
        paths = self.paths()
        for path, before in zip_longest(paths, paths[1:]):
            try:
                found = read(path)
            except InputError as error:
                then = "the checkpoint before it is used" if before is not None else "there is none before it"
                self.warn(f"{error}: {then}")
                continue
            return found["step"], found["state"]
        return None


def read(path: Path) -> dict[str, Any]:
    """Return the contents of one checkpoint: network, step and state.

    Raises:
        InputError: for a file that is missing, damaged, or not a checkpoint of this package.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(f"checkpoint {path} is not one of this package's: its name must be NETWORK-STEP-DIGEST.pt")
    check_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"checkpoint {path} cannot be read ({error.strerror})") from None
    if _digest(data) != match["digest"]:
        raise InputError(f"checkpoint {path} is damaged: its contents do not match the digest in its name")
    try:
        found = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # the unpickler raises many kinds; each means that this is not what we wrote
        raise InputError(f"checkpoint {path} is refused: it holds more than tensors and plain values") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"checkpoint {path} must have format {FORMAT!r}: it is not one of this package's")
    return found


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # one of `paths`
    return int(match["step"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]

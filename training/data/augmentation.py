"""Random shifts and mirror images for a whole batch at once, on whatever device it lies.

What to do with each image is drawn on the CPU and applied on the device, so the same generator gives the same
images everywhere. Drawing and applying are apart, so that an epoch's draws can be made ahead and any part of
the epoch repeated.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

__all__ = ["Draws", "augment", "draw", "shift_and_flip"]


class Draws(NamedTuple):
    """Shift and mirroring of each image of a batch.

    Args:
        down: first row of the window cut from the padded image, 0 to twice the padding.
        right: its first column, 0 to twice the padding.
        flip: whether the window is mirrored left to right.
    """

    down: Int64[Tensor, " n"]
    right: Int64[Tensor, " n"]
    flip: Bool[Tensor, " n"]

    def to(self, device: torch.device | str) -> "Draws":
        """Return the same draws on another device."""
        return Draws(*(entry.to(device) for entry in self))

    def part(self, where: slice) -> "Draws":
        """Return the draws of some of the images."""
        return Draws(*(entry[where] for entry in self))


def draw(count: int, generator: torch.Generator, padding: int, flip: bool) -> Draws:
    """Draw shifts, uniform and independent in both directions, and flips, each with probability one half.

    Takes the same amount from the generator whatever the padding and whether or not images may be flipped.

    Args:
        count: number of images, at least 0.
        generator: a generator on the CPU.
        padding: pixels by which an image may move each way, at least 0.
        flip: whether images may be mirrored.

    Raises:
        ValueError: padding is negative, or the generator is not on the CPU.
    """
    if padding < 0:
        raise ValueError(f"padding is {padding}; it must be at least 0")
    if generator.device.type != "cpu":
        raise ValueError(f"the generator is on {generator.device}; use one on the CPU, the same for every device")
    down, right = torch.randint(2 * padding + 1, (2, count), generator=generator)
    coins = torch.randint(2, (count,), generator=generator) == 1
    return Draws(down, right, coins & flip)


def shift_and_flip(images: Shaped[Tensor, "n c h w"], draws: Draws, padding: int) -> Shaped[Tensor, "n c h w"]:
    """Return each image padded with zeros, cut to its window and mirrored where drawn, by one gather.

    Args:
        images: a batch of any kind of number; zero should be the background (in normalised images, the mean).
        draws: on the same device.
        padding: zeros on each side, the same as in the draws.
    """
    n, c, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    rows = torch.arange(h, device=images.device)  # [h]
    columns = torch.arange(w, device=images.device)  # [w]
    columns = torch.where(draws.flip[:, None], w - 1 - columns, columns)  # [n, w]
    rows = draws.down[:, None] + rows  # [n, h], in the padded image
    columns = draws.right[:, None] + columns  # [n, w]
    source = rows[:, :, None] * (w + 2 * padding) + columns[:, None, :]  # [n, h, w], in a flattened plane
    source = source.reshape(n, 1, h * w).expand(n, c, h * w)
    return padded.flatten(2).gather(2, source).reshape(n, c, h, w)


def augment(
    images: Shaped[Tensor, "n c h w"], generator: torch.Generator, padding: int, flip: bool
) -> Shaped[Tensor, "n c h w"]:
    """Return images shifted by up to `padding` pixels, zeros moving in, and mirrored half of the time if `flip`.

    Args:
        images: a batch; normalised, so that zero is the mean.
        generator: a generator on the CPU, wherever the images lie.
        padding: at least 0.
        flip: whether images may be mirrored left to right.

    Returns:
        New images of the same shape and type.

    Raises:
        ValueError: padding is negative, or the generator is not on the CPU.

    Example:
        >>> image = torch.arange(1, 5).reshape(1, 1, 2, 2)
        >>> augment(image, torch.Generator().manual_seed(3), padding=1, flip=True)[0, 0]
        tensor([[0, 2],
                [0, 4]])
    """
    return shift_and_flip(images, draw(len(images), generator, padding, flip).to(images.device), padding)

"""The input of an exported network: the shape of its images, their units, and their normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from training.data.in_memory import Dataset
from training.data.source import Source
from training.errors import InputError

__all__ = ["Inputs", "inputs_of"]


@dataclass(frozen=True)
class Inputs:
    """Images, and how a network takes them: (image − mean) / std, channel by channel.

    Attributes:
        shape: channels, height and width.
        mean: of each channel.
        std: of each channel, positive.
        units: in which mean, std and the images are, as a phrase.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    units: str


def inputs_of(source: Source) -> Inputs:
    """Return the input of networks trained on this data.

    Raises:
        InputError: for a source that does not say how it normalises: `mean` and `std`, one number a channel.

    Example:
        >>> from training.data.data_sets import load_digits
        >>> inputs = inputs_of(load_digits())
        >>> inputs.shape, inputs.units, round(inputs.mean[0], 2), round(inputs.std[0], 2)
        ((1, 8, 8), 'numbers from 0 to 16', 4.89, 6.02)
    """
    mean, std = getattr(source, "mean", None), getattr(source, "std", None)
    if mean is None or std is None:
        raise InputError(f"data set {source.name!r} must have mean and std, one number a channel, to be exported with")
    units = "numbers from 0 to 255"
    if isinstance(source, Dataset):
        units = f"numbers from {source.train_images.min().item()} to {source.train_images.max().item()}"
    return Inputs(source.shape, tuple(mean.tolist()), tuple(std.tolist()), units)

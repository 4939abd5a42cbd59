"""An encoded image becomes the pixels that a network sees: a random crop for training, the centre for evaluation.

These are the crops that ImageNet results are usually reported with: Szegedy et al., Going deeper with convolutions
(arXiv 1409.4842), section 6, for training; shorter side 256, centre 224 for evaluation.
"""

from __future__ import annotations

import io
import math
import random
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["Crop", "centre_pixels", "decode", "draw_crop", "random_pixels"]

_AREA = (0.08, 1.0)  # of the image
_RATIO = (3 / 4, 4 / 3)  # width over height
_TRIES = 10


class Crop(NamedTuple):
    """A rectangle in an image, in pixels, and whether to mirror it."""

    left: int
    top: int
    width: int
    height: int
    flip: bool


def decode(content: bytes) -> Image.Image:
    """Return an image in red, green and blue, whatever it was encoded in.

    Raises:
        ValueError: it is damaged, no image, or so large that it looks like an attack; one line says which.
    """
    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except Exception as error:  # a damaged image may fail in any way
        if isinstance(error, Image.UnidentifiedImageError):
            raise ValueError("is no image") from error
        raise ValueError(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from error


def draw_crop(width: int, height: int, seed: int) -> Crop:
    """Draw a crop: area uniform in 8% to 100% of the image, logarithm of width/height uniform in ±log(4/3).

    What does not fit is drawn again, ten times at most; then it is the largest crop in the middle that these
    ratios allow. The same for the same image and seed, on every machine.

    Args:
        width: of the image, at least 1.
        height: of the image, at least 1.
        seed: at least 0.
    """
    draw = random.Random(seed).random  # of Random, only this is promised to stay the same in later versions
    flip = draw() < 0.5
    low, high = (math.log(ratio) for ratio in _RATIO)
    for _ in range(_TRIES):
        area = width * height * (_AREA[0] + (_AREA[1] - _AREA[0]) * draw())
        ratio = math.exp(low + (high - low) * draw())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        across, down = draw(), draw()
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(across * (width - w + 1)), int(down * (height - h + 1)), w, h, flip)
    w = min(width, max(1, round(height * _RATIO[1])))
    h = min(height, max(1, round(width / _RATIO[0])))
    return Crop((width - w) // 2, (height - h) // 2, w, h, flip)


def random_pixels(image: Image.Image, size: int, seed: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return a random crop of an image (see `draw_crop`), resized to a square and mirrored half of the time."""
    crop = draw_crop(*image.size, seed)
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    pixels = np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels[:, ::-1] if crop.flip else pixels)


def centre_pixels(image: Image.Image, size: int, resize: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return the square in the middle of an image whose shorter side has been resized.

    Args:
        image: of any size and mode.
        size: of the square.
        resize: the shorter side before the square is cut, at least `size`.
    """
    width, height = image.size
    shorter = min(width, height)
    width, height = resize * width // shorter, resize * height // shorter
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.array(resized.crop((left, top, left + size, top + size)))

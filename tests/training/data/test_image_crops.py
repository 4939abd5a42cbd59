import io
import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.data.image_crops import centre_pixels, decode, draw_crop, random_pixels

sides = st.integers(1, 3000)
seeds = st.integers(0, 2**62)


def smooth(width, height, seed=0):
    """A photograph as far as resizing is concerned: smooth, in colour, different everywhere."""
    draw = np.random.default_rng(seed)
    small = Image.fromarray(draw.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@given(sides, sides, seeds)
@settings(deadline=None)
def test_crops_lie_inside_and_have_the_areas_and_ratios_they_should(width, height, seed):
    crop = draw_crop(width, height, seed)
    assert crop == draw_crop(width, height, seed)
    assert 0 <= crop.left <= width - crop.width and 0 <= crop.top <= height - crop.height
    assert crop.width >= 1 and crop.height >= 1
    # Sides are rounded: each may be off by half a pixel.
    assert (crop.width - 0.5) / (crop.height + 0.5) <= 4 / 3
    assert (crop.width + 0.5) / max(crop.height - 0.5, 0.5) >= 3 / 4
    largest = min(width, max(1, round(height * 4 / 3))), min(height, max(1, round(width * 4 / 3)))
    assert (crop.width + 0.5) * (crop.height + 0.5) >= 0.08 * width * height or crop[2:4] == largest


@given(st.integers(1, 100), seeds)
@settings(deadline=None)
def test_where_nothing_fits_the_middle_is_taken(height, seed):
    width = 100 * height  # no crop of 8% has an allowed ratio
    crop = draw_crop(width, height, seed)
    assert (crop.width, crop.height) == (max(1, round(height * 4 / 3)), height)
    assert crop.top == 0 and abs(2 * crop.left + crop.width - width) <= 1
    turned = draw_crop(height, width, seed)
    assert (turned.left, turned.top, turned.width, turned.height) == (crop.top, crop.left, crop.height, crop.width)


def test_crops_are_distributed_as_by_rejection():
    """Against the definition, in NumPy, without what does not fit: two moments of 3,000 crops to 4 standard errors."""
    width, height, n = 500, 375, 3000
    crops = np.array([draw_crop(width, height, seed) for seed in range(n)], float)
    draw = np.random.default_rng(1)
    area = width * height * draw.uniform(0.08, 1, 20 * n)
    ratio = np.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3), 20 * n))
    w, h = np.round(np.sqrt(area * ratio)).astype(int), np.round(np.sqrt(area / ratio)).astype(int)
    fits = (w <= width) & (h <= height)
    w, h = w[fits], h[fits]
    expected = draw.integers(0, width - w + 1), draw.integers(0, height - h + 1), w, h, draw.integers(0, 2, len(w))
    for ours, theirs in zip(crops.T, expected, strict=True):
        for power in (1, 2):
            a, b = ours**power, theirs.astype(float) ** power
            assert abs(a.mean() - b.mean()) < 4 * math.sqrt(a.var() / len(a) + b.var() / len(b))


def slow_resize(image, size):
    """Bilinear with antialiasing, by another implementation."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("seed", range(6))
def test_random_pixels_are_those_of_the_crop(seed):
    image = smooth(90, 70)
    crop = draw_crop(90, 70, seed)
    part = np.array(image)[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    expected = slow_resize(part[:, ::-1].copy() if crop.flip else part, (24, 24))
    pixels = random_pixels(image, 24, seed)
    assert pixels.shape == (24, 24, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 1.5  # Pillow rounds after each direction


@pytest.mark.parametrize("width, height", [(90, 70), (70, 90), (64, 64), (40, 300), (20, 15)])
def test_centre_pixels_are_the_middle_of_the_resized_image(width, height):
    image = smooth(width, height)
    scale = 32 / min(width, height)
    w, h = int(width * scale + 1e-9), int(height * scale + 1e-9)
    left, top = (w - 28) // 2, (h - 28) // 2
    expected = slow_resize(image, (h, w))[top : top + 28, left : left + 28]
    pixels = centre_pixels(image, 28, 32)
    assert pixels.shape == (28, 28, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 1.5


def test_the_published_sizes():
    image = decode(encoded(smooth(500, 375)))
    assert random_pixels(image, 224, 0).shape == centre_pixels(image, 224, 256).shape == (224, 224, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "1"])
def test_every_colour_space_becomes_three_channels(mode):
    kind = "PNG" if mode == "1" else "JPEG"
    image = decode(encoded(smooth(20, 10).convert(mode), kind))
    assert image.mode == "RGB" and image.size == (20, 10)


def huge():
    """The header of a PNG of 20,000 x 20,000 pixels."""
    content = bytearray(encoded(Image.new("1", (1, 1)), "PNG"))
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is no image"),
        (b"<html>", "is no image"),
        (encoded(smooth(99, 99))[:700], "cannot be decoded: image file is truncated"),
        (encoded(smooth(99, 99), "PNG")[:700], "cannot be decoded"),
        (huge(), "cannot be decoded: Image size .* exceeds limit"),
    ],
)
def test_damaged_images_are_refused_in_one_line(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        decode(content)
    assert "\n" not in str(caught.value)

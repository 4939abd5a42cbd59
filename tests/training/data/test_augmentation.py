import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.augmentation import Draws, augment, draw, shift_and_flip


def slowly(image, down, right, flip, padding):
    """The definition, for one image: a frame of zeros, a window cut from it, mirrored or not."""
    c, h, w = image.shape
    framed = torch.zeros(c, h + 2 * padding, w + 2 * padding, dtype=image.dtype)
    framed[:, padding : padding + h, padding : padding + w] = image
    window = framed[:, down : down + h, right : right + w]
    return window.flip(-1) if flip else window


@given(
    shape=st.tuples(*[st.integers(lo, hi) for lo, hi in ((0, 6), (1, 4), (1, 9), (1, 9))]),
    padding=st.integers(0, 5),
    flip=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None)
def test_equals_the_slow_reference_exactly(shape, padding, flip, seed):
    images = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    draws = draw(len(images), torch.Generator().manual_seed(seed), padding, flip)
    fast = augment(images, torch.Generator().manual_seed(seed), padding, flip)
    assert fast.shape == images.shape and fast.dtype == images.dtype
    for i, (down, right, mirrored) in enumerate(zip(*(entry.tolist() for entry in draws), strict=True)):
        assert torch.equal(fast[i], slowly(images[i], down, right, mirrored, padding))


def test_middle_window_without_flip_changes_nothing():
    images = torch.randn(4, 3, 8, 8)
    middle = torch.full((4,), 2)
    assert torch.equal(shift_and_flip(images, Draws(middle, middle, torch.zeros(4, dtype=torch.bool)), 2), images)


def test_memory_layout_does_not_matter():
    images = torch.randn(5, 3, 8, 6)
    draws = draw(5, torch.Generator().manual_seed(1), 2, True)
    other = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(shift_and_flip(other, draws, 2), shift_and_flip(images, draws, 2))


def test_every_window_and_flip_is_equally_likely():
    n, padding = 90_000, 2
    draws = draw(n, torch.Generator().manual_seed(0), padding, True)
    outcomes = (draws.down * 5 + draws.right) * 2 + draws.flip.long()
    counts = torch.bincount(outcomes, minlength=50).double()
    expected = n / 50
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 101  # 49 degrees of freedom: exceeded with probability 1.7e-5


def test_takes_the_same_from_the_generator_whatever_the_options():
    states = []
    for padding, flip in ((0, False), (0, True), (1, False), (4, True)):
        generator = torch.Generator().manual_seed(5)
        draws = draw(7, generator, padding, flip)
        assert flip or not draws.flip.any()
        states.append(generator.get_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="padding is -1; it must be at least 0"):
        augment(torch.zeros(1, 1, 2, 2), torch.Generator(), -1, False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_result_on_the_accelerator():
    images = torch.randn(64, 3, 32, 32)
    here = augment(images, torch.Generator().manual_seed(0), 4, True)
    there = augment(images.cuda(), torch.Generator().manual_seed(0), 4, True)
    assert torch.equal(there.cpu(), here)
    with pytest.raises(ValueError, match="the generator is on cuda"):
        augment(images.cuda(), torch.Generator("cuda"), 4, True)

"""Fused masking against the reference left to autograd: values and gradients, shapes, formats and dtypes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.gating import masked_ops as masking
from training.gating.masked_ops import masked_add_relu, masked_relu, reference_masked_add_relu, reference_masked_relu

PAIRS = {"relu": (masked_relu, reference_masked_relu, 1), "add": (masked_add_relu, reference_masked_add_relu, 2)}


def inputs(shape, mask_shape, count, *, seed=0, dtype=torch.float64, binary=True, channels_last=False):
    """Activations and a mask, leaves; entries of exactly 0 among the activations, negative ones in a general mask."""
    generator = torch.Generator().manual_seed(seed)
    given = []
    for _ in range(count):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        x = torch.where(torch.rand(shape, generator=generator) < 0.2, 0.0, x).to(dtype)
        given.append(x.contiguous(memory_format=torch.channels_last) if channels_last and x.dim() == 4 else x)
    mask = torch.rand(mask_shape, generator=generator, dtype=torch.float64)
    mask = (mask < 0.6).double() if binary else 3 * mask - 1
    return [*(x.requires_grad_() for x in given), mask.requires_grad_()]


def outcome(call, given, seed=0):
    out = call(*given)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [out, *torch.autograd.grad((out * weight).sum(), given)]


@pytest.mark.parametrize("name", PAIRS)
@given(data=st.data())
@settings(max_examples=40)
def test_values_and_gradients_are_the_reference_s(name, data):
    fast, slow, count = PAIRS[name]
    batch, channels = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    pixels = data.draw(st.sampled_from([(), (3,), (2, 3), (1, 1), (2, 1, 2)]))
    mask = (data.draw(st.sampled_from([1, batch])), data.draw(st.sampled_from([1, channels])))
    last, binary = data.draw(st.booleans()), data.draw(st.booleans())
    values = inputs((batch, channels, *pixels), mask, count, seed=batch, binary=binary, channels_last=last)
    cached = masking._CACHED
    masking._CACHED = data.draw(st.sampled_from([1, 12, cached]))  # one sample a part, some, all
    try:
        found = outcome(fast, values)
    finally:
        masking._CACHED = cached
    for a, b in zip(found, outcome(slow, values), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("mask", [(3, 2), (3, 1), (1, 2)])
def test_gradients_against_finite_differences(name, mask):
    fast, _, count = PAIRS[name]
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(3, 2, 2, 2, generator=generator).double() for _ in range(count)]
    given = [(x + x.sign() * 0.1).requires_grad_() for x in given]  # away from the corner of relu(x)
    xi = torch.rand(mask, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(fast, (*given, xi))


@pytest.mark.parametrize("name", PAIRS)
def test_a_mask_of_zeros_still_has_a_slope(name):
    fast, _, count = PAIRS[name]
    values = [torch.ones(2, 3, 2, 2, requires_grad=True) for _ in range(count)]
    mask = torch.zeros(2, 3 if count == 1 else 1, requires_grad=True)
    fast(*values, mask).sum().backward()
    assert mask.grad.tolist() == [[4.0] * 3 if count == 1 else [12.0]] * 2
    assert not values[-1].grad.any()


@pytest.mark.parametrize("name", PAIRS)
def test_inputs_are_left_alone_and_formats_stay(name):
    fast, _, count = PAIRS[name]
    values = inputs((4, 3, 5, 5), (4, 1), count, dtype=torch.float32, channels_last=True)
    before = [value.detach().clone() for value in values]
    out = fast(*values)
    assert out.is_contiguous(memory_format=torch.channels_last)
    for gradient in torch.autograd.grad(out.sum(), values[:-1]):
        assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(before, values, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_low_precision_stays_low_and_the_mask_s_gradient_does_not(name):
    fast, slow, count = PAIRS[name]
    values = inputs((4, 3, 5, 5), (4, 1), count, dtype=torch.bfloat16)
    values[-1] = values[-1].detach().float().requires_grad_()
    found, expected = outcome(fast, values), outcome(slow, values)
    assert [v.dtype for v in found] == [torch.bfloat16] * (1 + count) + [torch.float32]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.03, atol=0.06)


def test_masks_and_shortcuts_that_broadcast_are_left_to_autograd():
    x, mask = torch.randn(1, 2, 3, requires_grad=True), torch.rand(4, 2, requires_grad=True)
    assert masked_relu(x, mask).shape == (4, 2, 3)
    out = masked_add_relu(torch.zeros(1, 2, 1), x, mask[:1])
    torch.testing.assert_close(out, torch.relu(x * mask[:1, :, None]))


@pytest.mark.parametrize("name", PAIRS)
def test_a_second_derivative_is_refused_and_the_reference_has_it(name):
    fast, slow, count = PAIRS[name]
    values = inputs((2, 3, 2), (2, 3), count)
    for call in (slow, fast):
        first = torch.autograd.grad(call(*values).square().sum(), values[0], create_graph=True)[0]
        if call is slow:
            first.sum().backward()
        else:
            with pytest.raises(RuntimeError, match="differentiate twice"):
                first.sum().backward()

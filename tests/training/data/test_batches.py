import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import batches
from training.data.in_memory import Dataset
from training.data.source import batch_count


def numbered(n, tests=5):
    """Images whose middle pixel, wherever they are shifted, and whose label are their number."""
    train, test = torch.arange(n), torch.arange(tests)
    return Dataset(
        name="numbered",
        train_images=train[:, None, None, None].expand(n, 2, 3, 3).clone(),
        train_labels=train,
        test_images=test[:, None, None, None].expand(tests, 2, 3, 3).clone(),
        test_labels=test,
        classes=n,
        mean=torch.tensor([1.0, 2.0]),
        std=torch.tensor([2.0, 0.5]),
        provenance="made up",
        padding=1,
        flip=True,
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


sizes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes, st.integers(0, 1000), st.booleans(), st.booleans())
@settings(deadline=None)
def test_each_image_comes_once_with_its_label(n_and_size, seed, augment, drop_last):
    n, size = n_and_size
    dataset = numbered(n)
    epoch = list(batches.batches(dataset, size, seeded(seed), augment=augment, drop_last=drop_last))
    assert len(epoch) == batch_count(dataset, size, drop_last)
    seen = []
    for images, labels in epoch:
        assert images.dtype == torch.float32
        assert torch.equal(images[:, 0, 1, 1] * 2 + 1, labels.float())
        assert torch.equal(images[:, 1, 1, 1] / 2 + 2, labels.float())
        seen += labels.tolist()
    assert len(seen) == len(set(seen)) == (n - n % size if drop_last else n)
    assert all(len(labels) == size for _, labels in (epoch if drop_last else epoch[:-1]))


@given(sizes, st.integers(0, 1000), st.data())
@settings(deadline=None)
def test_skip_gives_the_rest_exactly_as_it_would_have_come(n_and_size, seed, drawn):
    n, size = n_and_size
    dataset = numbered(n)
    whole = list(batches.batches(dataset, size, seeded(seed), drop_last=False))
    skip = drawn.draw(st.integers(0, len(whole)))
    generator = seeded(seed)
    rest = list(batches.batches(dataset, size, generator, drop_last=False, skip=skip))
    assert len(rest) == len(whole) - skip
    for (images, labels), (images_, labels_) in zip(rest, whole[skip:], strict=True):
        assert torch.equal(images, images_) and torch.equal(labels, labels_)


def test_next_epoch_differs_and_does_not_depend_on_how_the_last_was_used():
    dataset = numbered(50)
    used, resumed, dropped = seeded(), seeded(), seeded()
    first = [labels for _, labels in batches.batches(dataset, 10, used)]
    batches.batches(dataset, 7, resumed, augment=False, skip=3)
    next(batches.batches(dataset, 10, dropped))
    second = [labels for _, labels in batches.batches(dataset, 10, used)]
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(torch.cat([y for _, y in batches.batches(dataset, 10, resumed)]), torch.cat(second))
    assert torch.equal(torch.cat([y for _, y in batches.batches(dataset, 10, dropped)]), torch.cat(second))


def test_an_image_is_augmented_alike_whatever_the_batch_size():
    dataset = numbered(30)
    by_ten = torch.cat([images for images, _ in batches.batches(dataset, 10, seeded())])
    by_seven = torch.cat([images for images, _ in batches.batches(dataset, 7, seeded(), drop_last=False)])
    assert torch.equal(by_ten, by_seven)


def test_zeros_come_in_after_normalisation():
    dataset = numbered(20)
    images, labels = next(batches.batches(dataset, 20, seeded()))
    for image, label in zip(images, labels, strict=True):
        assert set(image[0].unique().tolist()) <= {0.0, (label.item() - 1) / 2}


def test_channels_last_changes_the_memory_only():
    dataset = numbered(12)
    for plain, other in (
        (batches.batches(dataset, 4, seeded()), batches.batches(dataset, 4, seeded(), channels_last=True)),
        (batches.test_batches(dataset, 2), batches.test_batches(dataset, 2, channels_last=True)),
    ):
        for (images, labels), (images_, labels_) in zip(plain, other, strict=True):
            assert images_.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(images, images_) and torch.equal(labels, labels_)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_test_images_come_once_in_order_and_plain(size):
    dataset = numbered(3, tests=5)
    parts = list(batches.test_batches(dataset, size))
    assert torch.cat([labels for _, labels in parts]).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(torch.cat([images for images, _ in parts]), dataset.normalise(dataset.test_images))


@pytest.mark.parametrize("size", [-1, 0, 11])
def test_batch_sizes_out_of_range_are_refused_at_the_call(size):
    message = f"batch size is {size}; it must be between 1 and the 10 images of numbered"
    with pytest.raises(ValueError, match=message):
        batches.batches(numbered(10), size, seeded())
    with pytest.raises(ValueError, match=message):
        batch_count(numbered(10), size)
    if size < 1:
        with pytest.raises(ValueError, match=f"batch size is {size}; it must be at least 1"):
            batches.test_batches(numbered(10), size)


@pytest.mark.parametrize("skip", [-1, 4])
def test_skip_out_of_range_is_refused_at_the_call(skip):
    with pytest.raises(ValueError, match=f"skip is {skip}; an epoch of numbered has 3 batches of 3"):
        batches.batches(numbered(10), 3, seeded(), skip=skip)


def test_the_middle_of_a_training_epoch_can_be_left():
    epoch = batches.batches(numbered(10), 3, seeded())
    next(epoch)
    del epoch

"""An export states how its images are normalised: so normalised, they are as the data set gives them."""

import numpy as np
import pytest
import torch
from PIL import Image

from training.data.data_sets import load_digits
from training.data.imagenet import load_imagenet
from training.errors import InputError
from training.export import inputs_of


def imagenet(place):
    """Two small JPEGs in ImageNet's folders."""
    for split in ("train", "val"):
        (place / split / "n01").mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / split / "n01" / f"{split}.JPEG")
    return load_imagenet(place, workers=0, size=8, resize=10)


@pytest.mark.parametrize("kind", ["digits", "imagenet"])
def test_images_are_normalised_as_the_data_set_does(kind, tmp_path):
    source = load_digits() if kind == "digits" else imagenet(tmp_path)
    inputs = inputs_of(source)
    assert inputs.shape == source.shape
    assert inputs.units == ("numbers from 0 to 16" if kind == "digits" else "numbers from 0 to 255")
    stored = torch.randint(0, 17, (3, *inputs.shape), dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (inputs.mean, inputs.std))
    assert torch.equal((stored.float() - mean) / std, source.normalise(stored))


def test_a_source_that_does_not_say_how_it_normalises_is_refused():
    class Own:
        name, shape, classes, provenance = "own", (1, 2, 2), 2, "made up"
        train_labels = test_labels = torch.zeros(2, dtype=torch.long)

        def batches(self, *_, **__):
            return iter(())

        def test_batches(self, *_, **__):
            return iter(())

    with pytest.raises(InputError, match="data set 'own' must have mean and std, one number a channel"):
        inputs_of(Own())

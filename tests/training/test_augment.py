"""One sample through all of it: image and labels stay together, mirroring is exact, the outside stays empty."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from autoseg.training import augment, moving
from autoseg.training.draws import nothing


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def centre_cut(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The middle of the last three axes."""
    for axis, size in enumerate(shape, start=x.ndim - 3):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x


def blob(shape: tuple[int, int, int], centre: tuple[int, int, int]) -> Tensor:
    classes = torch.zeros(shape, dtype=torch.int64)
    z, y, x = centre
    classes[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 2
    return classes


def test_nothing_is_the_identity() -> None:
    image, classes = noise(2, 6, 7, 8), torch.randint(-1, 3, (6, 7, 8))
    after, target = augment.apply(nothing(2), image, classes, (6, 7, 8), keep_zero=True)
    assert torch.equal(after, image) and after is not image and target is classes
    assert moving.box_shape(nothing(2), (6, 7, 8)) == (6, 7, 8)


@pytest.mark.parametrize("changes", [{}, {"brightness": (1.2, 1.0)}, {"noise": 0.1}])
def test_what_was_given_is_never_written_to(make: SimpleNamespace, changes: dict[str, Any]) -> None:
    image, classes = noise(2, 6, 7, 8), torch.zeros(6, 7, 8, dtype=torch.int8)
    image[:, :3] = 0
    before, writes = image.clone(), image._version
    augment.apply(make.draw(2, **changes), image, classes, (6, 7, 8), keep_zero=True)
    assert torch.equal(image, before) and image._version == writes


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_flips_are_exact_and_undo_themselves(make: SimpleNamespace, flips: tuple[int, ...]) -> None:
    image, classes = noise(2, 5, 6, 7), torch.randint(-1, 3, (5, 6, 7))
    one = make.draw(2, flips=flips)
    after, target = augment.apply(one, image, classes, (5, 6, 7), keep_zero=False)
    assert np.array_equal(after.numpy(), np.flip(image.numpy(), [axis + 1 for axis in flips]))
    assert np.array_equal(target.numpy(), np.flip(classes.numpy(), flips))
    back, again = augment.apply(one, after, target, (5, 6, 7), keep_zero=False)
    assert torch.equal(back, image) and torch.equal(again, classes)


def test_classes_move_with_the_image(make: SimpleNamespace) -> None:
    patch = (24, 24, 24)
    for angles, scale, flips in [((25.0, 0.0, 0.0), 1.0, ()), ((10.0, -30.0, 20.0), 0.8, (0,)), ((-30.0, 15.0, 30.0), 1.3, (1, 2))]:
        one = make.draw(angles=angles, scale=scale, flips=flips)
        box = moving.box_shape(one, patch)
        classes = blob(box, (box[0] // 2 + 3, box[1] // 2 - 4, box[2] // 2 + 5))
        image = torch.from_numpy(ndimage.gaussian_filter((classes > 0).float().numpy(), 1.0))[None]
        after, target = augment.apply(one, image, classes, patch, keep_zero=False)
        assert set(target.unique().tolist()) == {0, 2}
        centre = np.array(ndimage.center_of_mass(after[0].numpy()))
        assert np.abs(centre - ndimage.center_of_mass((target == 2).numpy())).max() < 0.5
        # and it is where the matrix says: scan offset = M @ patch offset
        offset = centre - (np.array(patch) - 1) / 2
        offset[list(flips)] *= -1
        expected = np.array([box[0] // 2 + 3, box[1] // 2 - 4, box[2] // 2 + 5]) - (np.array(box) - 1) / 2
        assert np.abs(moving.affine(one).numpy() @ offset - expected).max() < 0.2


@pytest.mark.parametrize("change", [{"flips": (1,)}, {"angles": (10.0, -30.0, 20.0), "scale": 0.8, "flips": (0,)}, {"scale": 1.3}])
def test_label_maps_move_alike_and_as_if_alone(make: SimpleNamespace, change: dict[str, object]) -> None:
    one, patch = make.draw(2, blur=(0.7, 0.0), **change), (12, 13, 14)
    box = moving.box_shape(one, patch)
    image, classes, other = noise(2, *box), blob(box, (6, 7, 8)).to(torch.int8), noise(*box).round().clip(-1, 2).to(torch.int8)
    together, maps = augment.apply(one, image, torch.stack([classes, other, classes]), patch, keep_zero=False)
    assert maps.dtype == torch.int8 and maps.shape == (3, *patch)
    for found, source in zip(maps, (classes, other, classes), strict=True):
        alone, expected = augment.apply(one, image, source, patch, keep_zero=False)
        assert torch.equal(together, alone) and torch.equal(found, expected)


def test_unannotated_voxels_survive(make: SimpleNamespace) -> None:
    tilted = make.draw(angles=(10.0, 0.0, 0.0))
    large = moving.box_shape(tilted, (24, 24, 24))
    whole = blob(large, (8, 12, 12))
    whole[14:20, 10:18, 10:18] = -1
    classes = centre_cut(whole, (24, 24, 24))
    one = make.draw(angles=(0.0, 0.0, 180.0), flips=(2,))
    _, target = augment.apply(one, noise(1, 24, 24, 24), classes, (24, 24, 24), keep_zero=False)
    assert torch.equal(target, classes.flip([0, 1, 2]))
    _, target = augment.apply(tilted, noise(1, *large), whole, (24, 24, 24), keep_zero=False)
    assert abs(int((target == -1).sum()) - int((classes == -1).sum())) < 40


def test_outside_of_the_head_is_zero_again(make: SimpleNamespace) -> None:
    image = noise(2, 10, 10, 10)
    image[:, :4] = 0
    image[0, 5] = 0  # one channel only: still inside
    one = make.draw(2, noise=0.2, brightness=(1.2, 0.8), contrast=(1.2, 1.2), flips=(0,))
    classes = torch.zeros(10, 10, 10, dtype=torch.int64)
    after, _ = augment.apply(one, image, classes, (10, 10, 10), keep_zero=True)
    after = after.flip(1)
    assert (after[:, :4] == 0).all() and (after[:, 4:] != 0).any(0).all()
    changed, _ = augment.apply(one, image, classes, (10, 10, 10), keep_zero=False)
    assert (changed.flip(1)[:, :4] != 0).any()
    assert (image[:, :4] == 0).all()  # the sample itself is left alone

"""Augmentation of patches that are much coarser along their first axis: what acts within slices, and what does not."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from autoseg.training import moving
from autoseg.training.intensities import at_low_resolution, changed_channels


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_every_slice_turns_and_scales_on_its_own(make: SimpleNamespace) -> None:
    """A volume's slices end as they would alone; the box is no thicker than the patch."""
    rules = make.augmentation(slice_wise=True, rotation={"probability": 1, "range": [20, 180]}, scaling={"probability": 1, "range": [0.7, 1.4]})
    for one in make.draws(rules, 6, channels=1, in_plane=True):
        box = moving.box_shape(one, (3, 12, 12))
        assert box[0] == 3 and box[1] > 12
        image, classes = noise(1, *box), noise(*box).round().long()
        after, target = moving.move(one, image, classes, (3, 12, 12))
        for index in range(3):
            alone, alone_target = moving.move(one, image[:, index : index + 1], classes[index : index + 1], (1, 12, 12))
            assert torch.allclose(after[:, index], alone[:, 0], atol=1e-5)
            assert (target[index] == alone_target[0]).float().mean() > 0.98  # ties of shares may fall either way


def test_slice_wise_low_resolution_leaves_the_first_axis_alone(make: SimpleNamespace) -> None:
    """Two slices, each of one value, stay apart; a slice that changes along X does not."""
    volume = torch.zeros(1, 4, 8, 8)
    volume[:, 1::2] = 1.0
    one = make.draw(in_plane=True, low_resolution=(0.5,))
    assert torch.equal(torch.stack(list(changed_channels(one, volume.unbind()))), volume)
    assert not torch.equal(torch.stack(list(changed_channels(make.draw(low_resolution=(0.5,)), volume.unbind()))), volume)
    # halved by the nearest voxel, positions 1, 3, 5, 7 (the centres 0.5, 2.5, ... lie between two), and up again linearly
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    expected = [1.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.0]
    after = torch.stack(list(changed_channels(one, ramp.contiguous().unbind())))
    assert torch.allclose(after, torch.tensor(expected).expand(1, 3, 8, 8))
    each = torch.stack([at_low_resolution(one_slice[None], 0.5)[0] for one_slice in noise(3, 8, 8)])
    assert torch.allclose(at_low_resolution(noise(3, 8, 8), 0.5, in_plane=True), each)


def test_slice_wise_blur_acts_on_all_axes(make: SimpleNamespace) -> None:
    """nnU-Net's choice: only what moves voxels, and low resolution, leave the first axis alone."""
    volume = torch.zeros(1, 5, 7, 7)
    volume[:, 2, 3, 3] = 1.0
    after = next(changed_channels(make.draw(in_plane=True, blur=(0.8,)), volume.unbind()))
    assert after[1, 3, 3] == pytest.approx(float(after[2, 2, 3])) and after[1, 3, 3] > 0.01

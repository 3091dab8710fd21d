"""Classes from channels, against the plain argmax and cases worked out by hand."""

import numpy as np
import pytest
import torch

from autoseg.imaging.channels import largest_channel, paint

DEVICES = ["cpu", "as on a card", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "as on a card":
        return str(request.param)
    monkeypatch.setattr("autoseg.imaging.channels._array", lambda channel: (channel, torch))
    return "cpu"


@pytest.mark.parametrize("channels", [1, 2, 5, 300])
@pytest.mark.parametrize("values", [3, 10_000])
def test_the_largest_and_of_ties_the_first(channels: int, values: int, device: str) -> None:
    x = torch.from_numpy(np.random.default_rng(channels).integers(-values, values, (channels, 6, 7, 8))).float().to(device)
    before = x.clone()
    found = largest_channel(x)
    assert found.dtype == (torch.int16 if channels > 256 else torch.uint8)
    assert torch.equal(found.cpu().long(), torch.from_numpy(x.cpu().numpy().argmax(0)))
    assert torch.equal(largest_channel(iter(x)), found)
    assert torch.equal(x, before)


def test_a_late_channel_of_many(device: str) -> None:
    x = torch.zeros(300, 2, device=device)
    x[255, 0] = x[299, 1] = 1
    assert largest_channel(x).tolist() == [255, 299]


def test_later_regions_paint_over_earlier_ones_by_hand(device: str) -> None:
    whole, core, enhancing = [1.0, 1.0, 1.0, -1.0, -1.0, 0.0], [-1.0, 1.0, 1.0, 1.0, -1.0, 0.0], [-1.0, -1.0, 1.0, -1.0, 1.0, 0.0]
    logits = torch.tensor([whole, core, enhancing], device=device)[:, None, None, :]
    for painted, expected in (((2, 1, 3), [2, 1, 3, 1, 3, 0]), ((3, 2, 300), [3, 2, 300, 2, 300, 0]), ((255, 1, 7), [255, 1, 7, 1, 7, 0])):
        found = paint(logits, painted, above=0.0)
        assert found.flatten().tolist() == expected
        assert found.dtype == (torch.int16 if max(painted) > 255 else torch.uint8)
    assert paint(logits.flip(0), (3, 1, 2), above=0.0).flatten().tolist() == [2, 2, 2, 1, 3, 0]
    assert paint(logits * 0.4, (2, 1, 3), above=0.5).flatten().tolist() == [0] * 6
    with pytest.raises(ValueError):
        paint(logits, (1, 2), above=0.0)

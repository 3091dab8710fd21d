import pytest
import torch

from autoseg.errors import AutosegError
from autoseg.inference.execution import candidates
from autoseg.inference.throughput import WIDTHS, cuda_memory, measure_throughput


def test_measures_every_rate_the_way_training_runs() -> None:
    torch.set_num_threads(1)
    found = measure_throughput("cpu", "float32")
    assert (found.device, found.precision, found.threads) == ("cpu", "float32", 1)
    assert found.channels_last is candidates("cpu", "float32")[0].channels_last
    for rates in (found.volumes, found.slices):
        assert rates.widths == WIDTHS
        assert all(1e8 < rate < 1e13 for rate in rates.convolution)
        assert all(1e5 < rate < 1e11 for rate in (rates.norm, rates.thin, rates.loss))
    assert 1e6 < found.weights < 1e11


@pytest.mark.parametrize("device", ["cpu", "cuda:99", "cuda:x", *([] if torch.cuda.is_available() else ["cuda"])])
def test_no_card_no_memory(device: str) -> None:
    with pytest.raises(AutosegError, match="Give --gpu-memory GB"):
        cuda_memory(device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_memory_of_the_card() -> None:
    name, total = cuda_memory("cuda")
    assert name and total > 2**30

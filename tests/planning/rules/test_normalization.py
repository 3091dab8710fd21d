import pytest

from autoseg.planning.fingerprint import IntensityStatistics
from autoseg.planning.rules.normalization import choose_normalization

STATISTICS = IntensityStatistics(mean=99, median=100, std=37, min=-1024, max=3071, percentile_00_5=-17, percentile_99_5=201)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("noNorm", "none"),
        ("RGB_to_0_1", "rgb_to_0_1"),
        ("rescale_to_0_1", "rescale_to_0_1"),
        ("CTA", "zscore"),
        ("T1ce", "zscore"),
    ],
)
def test_the_name_decides(name: str, scheme: str) -> None:
    (chosen,), why = choose_normalization([name], [STATISTICS], 1.0)
    assert chosen.scheme == scheme
    assert chosen.channel == name
    assert name in why


def test_ct_carries_the_statistics_of_the_dataset() -> None:
    (chosen,), _ = choose_normalization(["CT"], [STATISTICS], 0.1)
    assert (chosen.lower, chosen.upper, chosen.mean, chosen.std) == (-17, 201, 99, 37)
    assert not chosen.use_mask


@pytest.mark.parametrize(("relative_size", "use_mask"), [(0.75, False), (0.7499, True), (1.0, False)])
def test_mask_below_three_quarters(relative_size: float, use_mask: bool) -> None:
    chosen, why = choose_normalization(["T1", "noNorm"], [STATISTICS] * 2, relative_size)
    assert [one.use_mask for one in chosen] == [use_mask, False]
    assert f"{100 * relative_size:.4g}%" in why

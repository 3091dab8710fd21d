"""Channels by whoever's name."""

import pytest

from autoseg.data.channels import CHANNELS, canonical


@pytest.mark.parametrize(
    ("name", "meant"),
    [("t2f", "FLAIR"), (" T1Gd ", "T1ce"), ("t1c", "T1ce"), ("T1n", "T1"), ("t1w", "T1"), ("T2W", "T2"), ("ADC ", "adc"), ("t1 post", "t1 post")],
)
def test_spellings(name: str, meant: str) -> None:
    assert canonical(name) == meant


def test_names_stand_for_themselves() -> None:
    assert [canonical(name) for name in CHANNELS] == list(CHANNELS)

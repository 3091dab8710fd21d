import pytest

from autoseg.progress import duration, silent


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.6, "60 s"), (119, "119 s"), (120, "2 min"), (7199, "2 h 0 min"), (7100, "118 min"), (7230, "2 h 0 min"), (90_000, "25 h 0 min")],
)
def test_durations_are_said_in_peoples_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_silence_takes_what_a_progress_takes() -> None:
    silent("train", 1, 2, "note")

import pytest

from autoseg.errors import AutosegError, DatasetError, GeometryMismatch, Interrupted, PlanError, UnreadableFile, counted, listing


@pytest.mark.parametrize("kind", [DatasetError, GeometryMismatch, Interrupted, PlanError, UnreadableFile])
def test_whatever_a_user_can_mend_is_caught_as_one(kind: type[AutosegError]) -> None:
    with pytest.raises(AutosegError, match="the text"):
        raise kind("the text")


def test_one_is_no_plural() -> None:
    assert [counted(number, "case") for number in (0, 1, 2, 2000)] == ["0 cases", "1 case", "2 cases", "2,000 cases"]


def test_a_listing_tells_how_many_more_there_are() -> None:
    assert listing([]) == ""
    assert listing(range(5)) == "0, 1, 2, 3, 4"
    assert listing((f"case {k}" for k in range(7)), limit=2) == "case 0, case 1 and 5 more"

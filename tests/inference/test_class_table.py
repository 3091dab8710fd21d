"""The table of classes: written whole, gone on from, and no row of it believed once the images are others."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image
from autoseg.imaging.write import write_image
from autoseg.inference.class_table import classify_cases, read_table, table_text
from autoseg.inference.classes import Classified
from autoseg.inference.run import Source
from tests.inference.test_classes import plan, predictor

CLASSES = ("absent", "present")


class Bench:
    """Scans of one value, whose classification tells it, and a folder for the table."""

    def __init__(self, root: Path) -> None:
        self.scans, self.output = root / "in", root / "out"
        self.predictor = predictor(plan(2))
        self.source = Source("D", "tiny", ("0",), ("w",), 0.5, True, task="classification")

    def case(self, name: str, value: float, *, later: int = 0) -> Case:
        path = self.scans / f"{name}.nii.gz"
        write_image(Image(np.full((1, 1, 4, 4), value, np.float32), Geometry.of((1, 4, 4))), path)
        os.utime(path, ns=(10**18 + later, 10**18 + later))
        return Case(name, (path,), None, name)

    def classify(self, cases: Sequence[Case], *, overwrite: bool = False) -> tuple[str, ...]:
        return classify_cases(self.predictor, cases, self.output, self.source, overwrite=overwrite)[1]

    def table(self) -> dict[str, float]:
        """Probability of the second class of each case, by the file."""
        return {name: one.case[1] for name, one in read_table(self.output / "classification.csv", CLASSES).items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = {"b": Classified((0.25, 0.75), {4: (0.25, 0.75), 11: (0.5, 0.5)}), "a": Classified((1.0, 0.0))}
    path = tmp_path / "classification.csv"
    path.write_text(table_text(found, CLASSES))
    assert read_table(path, CLASSES) == found
    assert path.read_text().splitlines()[:3] == [
        "case,slice,p_absent,p_present,decision", "b,4,0.250000,0.750000,present", "b,11,0.500000,0.500000,absent",
    ]  # fmt: skip
    known = table_text(found, CLASSES, {"b": {4: "present", None: "present"}, "a": {}}).splitlines()
    assert [line.rsplit(",", 1)[1] for line in known] == ["truth", "present", "", "present", ""]


@pytest.mark.parametrize(
    ("text", "said"), [("", "it lacks the columns"), ("case,slice,p_LGG,p_HGG,decision\n", "it lacks the columns"), ("a,,x,0,absent\n", "no table")]
)
def test_another_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "classification.csv"
    path.write_text(text if said != "no table" else "case,slice,p_absent,p_present,decision\n" + text)
    with pytest.raises(AutosegError, match="numbers" if said == "no table" else said):
        read_table(path, CLASSES)


def test_an_image_that_changed_is_classified_again_whatever_was_asked_for_in_between(bench: Bench) -> None:
    a, b = bench.case("a", 1.0), bench.case("b", 2.0)
    assert bench.classify([a]) == ()
    bench.case("a", 3.0, later=1)
    assert bench.classify([b]) == ()
    assert bench.table() == pytest.approx({"b": sigmoid(2), "a": sigmoid(1)}, abs=1e-6)  # of a case that is not asked for the row stays ...
    assert bench.classify([a, b]) == ("b",)
    assert bench.table() == pytest.approx({"a": sigmoid(3), "b": sigmoid(2)}, abs=1e-6)  # ... and is not believed
    assert bench.classify([b, a]) == ("b", "a")


def test_an_image_that_an_older_one_took_the_place_of_is_classified_again(bench: Bench) -> None:
    assert bench.classify([bench.case("a", 1.0)]) == ()
    assert bench.classify([bench.case("a", 3.0, later=-1)]) == ()
    assert bench.table() == pytest.approx({"a": sigmoid(3)}, abs=1e-6)


def test_a_table_of_which_nobody_knows_the_images_is_made_anew(bench: Bench) -> None:
    cases = [bench.case("a", 1.0), bench.case("b", 2.0)]
    bench.classify(cases)
    (bench.output / "classification.json").unlink()
    assert bench.classify(cases) == () and bench.classify(cases) == ("a", "b")
    assert bench.classify(cases, overwrite=True) == ()
    (bench.output / "classification.json").write_text("[]")
    with pytest.raises(AutosegError, match=r"classification\.json is damaged"):
        bench.classify(cases)


def test_what_was_finished_before_an_error_stays(bench: Bench) -> None:
    good, bad = bench.case("a", 1.0), bench.case("b", 2.0)
    bad.channels[0].write_bytes(b"no scan")
    with pytest.raises(AutosegError, match="Case b"):
        bench.classify([good, bad])
    assert bench.table().keys() == {"a"}
    assert bench.classify([good, bench.case("b", 2.0)]) == ("a",)

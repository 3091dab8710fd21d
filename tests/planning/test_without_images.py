import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.data.facts import CaseFacts
from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import fingerprint, write_fingerprint
from autoseg.planning.planner import make_plan
from autoseg.planning.without_images import plan_inputs, read_fingerprint_file
from tests.planning.nnunet_files import genuine, inputs

OURS = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "tumour": 4}, "numTraining": 9, "file_ending": ".nrrd"}


def our_file(folder: Path, *, with_dataset: bool = True) -> Path:
    labels = Labels(("background", "tumour"), (0, 4), ignore=7 if with_dataset else None)
    cases = tuple(Case(f"patient {name}", (), None, name) for name in "ab")
    dataset = Dataset("Dataset001_X", Path(), "nnunet", ("T1",), labels, cases, ".nrrd")
    foreground = np.ones((1, 5), dtype=np.float32)
    facts = [CaseFacts(case.name, (40, 40, 40), (40, 30, 40), (1.0, 1.0, 1.0), (9, 5), foreground) for case in cases]
    found = fingerprint(dataset, facts)
    path = folder / "x.fingerprint.json"
    write_fingerprint(found if with_dataset else found.model_copy(update={"dataset": None}), path)
    return path


def dataset_json(folder: Path, **changes: Any) -> Path:
    path = folder / "dataset.json"
    path.write_text(json.dumps(OURS | changes))
    return path


def test_our_fingerprint_alone_is_enough(tmp_path: Path) -> None:
    found, block = plan_inputs(our_file(tmp_path))
    assert (block.name, block.num_cases, block.file_ending) == ("Dataset001_X", 2, ".nrrd")
    assert (block.labels.names, block.labels.values, block.labels.ignore) == (("background", "tumour"), (0, 4), 7)
    assert make_plan(found, block).dataset == block


def test_our_fingerprint_says_nothing_about_patients(tmp_path: Path) -> None:
    assert "patient" not in our_file(tmp_path).read_text()


def test_a_dataset_json_says_what_our_fingerprint_does_not(tmp_path: Path) -> None:
    path = our_file(tmp_path, with_dataset=False)
    with pytest.raises(AutosegError, match=r"x\.fingerprint\.json does not say what the labels mean.*--dataset-json"):
        plan_inputs(path)
    _, block = plan_inputs(path, dataset_json(tmp_path))
    assert (block.num_cases, block.labels.values) == (9, (0, 4))


def test_the_peers_fingerprint_needs_its_dataset_json(tmp_path: Path) -> None:
    content = genuine("liver_ivim")
    _, block = inputs(tmp_path, content["dataset"], content["fingerprint"])
    assert (block.channel_names, block.num_cases, block.labels.names) == (("IVIM",), 77, ("background", "liver"))
    with pytest.raises(AutosegError, match=r"names neither channels nor labels.*--dataset-json"):
        read_fingerprint_file(tmp_path / "dataset_fingerprint.json")


def test_entries_are_counted_where_nobody_says_how_many_cases_train(tmp_path: Path) -> None:
    content = genuine("lung006")
    unsaid = {key: value for key, value in content["dataset"].items() if key not in ("numTraining", "training")}
    assert inputs(tmp_path, unsaid, content["fingerprint"])[1].num_cases == 63
    assert inputs(tmp_path, unsaid | {"numTraining": 7}, content["fingerprint"])[1].num_cases == 7


@pytest.mark.parametrize(
    ("changes", "with_dataset", "text"),
    [
        ({"channel_names": {"0": "T2"}}, False, r"in channel_names: \['T1'\] and \['T2'\]"),
        ({"labels": {"background": 0, "a": 1, "b": 2}}, False, "in the number of classes: 2 and 3"),
        ({"labels": {"background": 0, "a": 1}}, True, "in labels: .*tumour.* and .*'a'"),
    ],
)
def test_files_that_contradict_each_other_are_refused(changes: dict[str, Any], with_dataset: bool, text: str, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=rf"x\.fingerprint\.json and .*dataset\.json contradict each other {text}"):
        plan_inputs(our_file(tmp_path, with_dataset=with_dataset), dataset_json(tmp_path, **changes))


def test_files_that_agree_are_taken_together(tmp_path: Path) -> None:
    same = dataset_json(tmp_path, labels={"background": 0, "tumour": 4, "ignore": 7})
    assert plan_inputs(our_file(tmp_path), same) == plan_inputs(our_file(tmp_path))

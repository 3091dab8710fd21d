import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.nnunet.fingerprint import is_nnunet_fingerprint
from autoseg.planning.planner import make_plan
from tests.planning.nnunet_files import genuine, inputs
from tests.planning.parity import Vector, plan_of, vectors

STATISTICS = {"mean": 5, "median": 4, "std": 2, "min": 0, "max": 9, "percentile_00_5": 1, "percentile_99_5": 8}
FINGERPRINT = {
    "spacings": [[2.0, 1.0, 1.0], [2.5, 1.0, 1.0]],
    "shapes_after_crop": [[60, 80, 90], [50, 80, 90]],
    "foreground_intensity_properties_per_channel": {"0": STATISTICS, "1": STATISTICS | {"mean": 6}},
    "median_relative_size_after_cropping": 0.5,
}
DATASET = {"channel_names": {"0": "T1", "1": "CT"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}


def read(folder: Path, edit: Callable[[dict[str, Any]], Any] = lambda content: None) -> Any:
    content = json.loads(json.dumps(FINGERPRINT))
    edit(content)
    return inputs(folder, DATASET, content)


def test_all_that_the_file_holds_is_read_and_nothing_made_up(tmp_path: Path) -> None:
    found, _ = read(tmp_path)
    assert found.channel_names == ("T1", "CT")
    assert found.spacings == ((2.0, 1.0, 1.0), (2.5, 1.0, 1.0))
    assert found.shapes_after_crop == ((60, 80, 90), (50, 80, 90))
    assert found.median_relative_size_after_crop == 0.5
    assert [one.mean for one in found.intensities] == [5, 6]
    assert found.intensities[0].model_dump() == STATISTICS
    assert (found.dataset, found.shapes, found.class_voxels, found.cases_without_class) == (None, None, None, None)


@pytest.mark.parametrize("vector", [*vectors("planner_vectors")[::6], *vectors("peer_vectors")[::4]], ids=lambda vector: vector.name)
def test_the_files_lead_to_the_plan_of_the_facts(vector: Vector, tmp_path: Path) -> None:
    facts = inputs(tmp_path, vector.dataset, vector.fingerprint)
    plan = make_plan(*facts, preset=vector.preset, gpu_memory_gb=vector.gpu_memory_gb, spacing=vector.spacing)
    expected = plan_of(vector)
    assert plan.configurations == expected.configurations
    assert plan.dataset.labels.values == expected.dataset.labels.values


def test_channels_past_the_tenth_keep_their_order(tmp_path: Path) -> None:
    dataset = DATASET | {"channel_names": {str(number): f"c{number}" for number in range(12)}}
    statistics = {str(number): STATISTICS | {"mean": number} for number in range(12)}
    found, _ = inputs(tmp_path, dataset, FINGERPRINT | {"foreground_intensity_properties_per_channel": statistics})
    assert [one.mean for one in found.intensities] == list(range(12))


def test_the_older_key_of_the_intensities_is_read(tmp_path: Path) -> None:
    older = {key: value for key, value in FINGERPRINT.items() if "intensity" not in key}
    older["foreground_intensity_properties_by_modality"] = FINGERPRINT["foreground_intensity_properties_per_channel"]
    assert inputs(tmp_path, DATASET, older) == read(tmp_path)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content.pop("median_relative_size_after_cropping"), r"median_relative_size_after_cropping is missing.*not be guessed"),
        (lambda content: content.update(median_relative_size_after_cropping=1.5), r"median_relative_size_after_cropping: .*1\.5"),
        (lambda content: content.pop("spacings"), "spacings is missing"),
        (lambda content: content.update(spacings=[]), r"spacings: "),
        (lambda content: content["spacings"][1].__setitem__(0, 0.0), r"spacings\.1\.0: .*0\.0"),
        (lambda content: content["spacings"][1].__setitem__(0, float("nan")), r"spacings\.1\.0: .*NaN"),
        (lambda content: content["spacings"][1].__setitem__(0, float("inf")), r"spacings\.1\.0: .*Infinity"),
        (lambda content: content["spacings"].append([1, 1, 1]), "shapes_after_crop has 2 entries, spacings has 3"),
        (lambda content: content["shapes_after_crop"][0].__setitem__(0, -3), r"shapes_after_crop\.0\.0: .*-3"),
        (lambda content: content["foreground_intensity_properties_per_channel"].pop("1"), r"has the channels 0, but .*dataset\.json names 2: T1, CT"),
        (lambda content: content["foreground_intensity_properties_per_channel"]["1"].pop("std"), r"per_channel\.1\.std is missing"),
        (lambda content: content["foreground_intensity_properties_per_channel"]["1"].update(std=-1), r"per_channel\.1 is impossible:\n  std: .*-1"),
        (lambda content: content["foreground_intensity_properties_per_channel"]["0"].update(mean=float("nan")), r"per_channel\.0 .*\n  mean: .*NaN"),
        (lambda content: content.update(foreground_intensity_properties_per_channel=[]), r"per_channel must be an object"),
    ],
)
def test_what_cannot_be_planned_from_is_named(edit: Callable[[dict[str, Any]], Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=text) as caught:
        read(tmp_path, edit)
    assert str(tmp_path / "dataset_fingerprint.json") in str(caught.value)


def test_other_files_are_told_apart() -> None:
    assert is_nnunet_fingerprint(genuine("lung006")["fingerprint"])
    assert not any(map(is_nnunet_fingerprint, (genuine("lung006")["plan"]["configurations"], {"spacings": []}, [], None)))

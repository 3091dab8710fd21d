"""Plans that are made again, replaced, edited by hand, and spoilt by hand."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import DATASET, Shell, shrink, tree


def test_a_second_plan_keeps_the_first_and_a_differing_one_needs_force(shell: Shell, workspace: Path) -> None:
    plan = workspace / "plans" / f"{DATASET}.json"
    first = shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace)
    assert first.code == 0, first.err
    assert f"The plan of {DATASET}" in first.out and "patch_size" in first.out
    assert "Next: autoseg train 3d_fullres 0" in first.out
    assert not (workspace / "preprocessed").exists()
    before = tree(workspace / "plans")[plan.name]
    again = shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace)
    assert again.code == 0, again.err
    assert tree(workspace / "plans")[plan.name] == before
    refused = shell.fails("plan", "20", "--preset", "cpu", "--spacing", "2x2x2", cwd=workspace)
    assert f"{plan} is there and differs from what would be planned now (its preset is 'cpu'):" in refused
    assert "configurations.2d.spacing: [1.0, 1.0] in the file, [2.0, 2.0] now" in refused
    assert "--force" in refused
    shrink(plan)
    assert "differs" in shell.fails("plan", "20", "--preset", "cpu", cwd=workspace), "what was edited by hand is not lost"
    forced = shell.run("plan", "20", "--preset", "cpu", "--spacing", "2x2x2", "--force", "--no-preprocess", cwd=workspace)
    assert forced.code == 0, forced.err
    assert json.loads(plan.read_text())["configurations"]["3d_fullres"]["spacing"] == [2, 2, 2]
    plan.write_text("{")
    assert "is not valid JSON" in shell.fails("plan", "20", "--preset", "cpu", cwd=workspace)
    assert shell.run("plan", "20", "--preset", "cpu", "--spacing", "2,2,2", "--force", "--no-preprocess", cwd=workspace).code == 0


def test_a_plan_says_what_was_not_made_and_explains_the_rest_when_asked(shell: Shell, workspace: Path) -> None:
    made = shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace)
    assert made.code == 0, made.err
    explained = shell.run("plan", "20", "--explain", cwd=workspace).out
    for shown in (made.out, explained):
        assert "Not made: a patch at full resolution sees the whole median image, and 25% is enough." in shown
        assert "Not made: there is no 3d_lowres whose segmentation it could refine." in shown
        assert "z spacing 1 mm is not more than 3 x 1 mm: every axis takes the median spacing of the cases." in shown
    for decision in ("batch_dice", "normalization", "resampling", "augmentation"):
        assert decision in explained
        assert decision not in made.out


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("patch_sise", [16, 16, 16], "configurations.3d_fullres.patch_sise: unknown key; did you mean patch_size?"),
        (
            "patch_size",
            [16, 17, 16],
            "not divisible by 2, the product of the strides there (found: [16, 17, 16]); nearest valid patch_size: [16, 16, 16]",
        ),
        ("batch_size", 0, "configurations.3d_fullres.batch_size: must be at least 1 (found: 0)"),
        ("patch_size", [16, 16], "patch_size: needs 3 numbers, because dimensions is 3 (found: [16, 16])"),
    ],
)
def test_an_impossible_plan_names_key_value_and_mend(shell: Shell, trained: Path, tmp_path: Path, key: str, value: object, said: str) -> None:
    place = tmp_path
    shutil.copytree(trained / "plans", place / "plans")
    (place / "raw_data").symlink_to(trained / "raw_data")
    plan = place / "plans" / f"{DATASET}.json"
    content = json.loads(plan.read_text())
    content["configurations"]["3d_fullres"][key] = value
    plan.write_text(json.dumps(content))
    message = shell.fails("train", "3d_fullres", "0", cwd=place)
    assert f"{plan} is not a valid plan:" in message
    assert said in message


def test_brats_learns_regions_unless_classes_are_wished(shell: Shell, workspace: Path) -> None:
    plan = workspace / "plans" / f"{DATASET}.json"
    made = shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", "--force", cwd=workspace)
    assert made.code == 0 and "The regions WT, TC, ET are declared, and may overlap" in made.out, made.err
    labels = json.loads(plan.read_text())["dataset"]["labels"]
    assert (labels["trained"], labels["region_order"], list(labels["regions"])) == ("regions", [2, 1, 4], ["WT", "TC", "ET"])
    refused = shell.fails("plan", "20", "--preset", "cpu", "--labels", "classes", "--no-preprocess", cwd=workspace)
    assert 'dataset.labels.trained: "regions" in the file, "classes" now' in refused
    assert "choose classes or regions" in shell.fails("plan", "20", "--labels", "areas", cwd=workspace)
    classes = shell.run("plan", "20", "--preset", "cpu", "--labels", "classes", "--no-preprocess", "--force", cwd=workspace)
    assert classes.code == 0 and "labels classes" in classes.err and "Classes are learned, as was wished" in classes.out, classes.err
    assert json.loads(plan.read_text())["dataset"]["labels"] == labels | {"trained": "classes"}

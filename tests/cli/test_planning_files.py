"""Plans made from files alone, taken over from other plans, and checked after they were edited: as a user types it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import DATASET, Shell, tree
from tests.planning.nnunet_files import genuine


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with what another site shares: nnU-Net's fingerprint, dataset.json and plan of one dataset."""
    published = genuine("lung006")
    for name, content in (("F.json", published["fingerprint"]), ("D.json", published["dataset"]), ("nnUNetPlans.json", published["plan"])):
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def configurations(path: Path) -> Any:
    return json.loads(path.read_text())["configurations"]


def test_a_fingerprint_is_enough(shell: Shell, site: Path) -> None:
    planned = shell.run("plan", "--fingerprint", "F.json", "--dataset-json", "D.json", "--preset", "default", "-o", "P.json", cwd=site)
    assert planned.code == 0, planned.err
    assert planned.headline == "autoseg plan: fingerprint F.json, preset default"
    made, theirs = configurations(site / "P.json"), genuine("lung006")["plan"]["configurations"]
    assert made["3d_fullres"]["patch_size"] == theirs["3d_fullres"]["patch_size"]
    assert made["3d_lowres"]["spacing"] == theirs["3d_lowres"]["spacing"]
    assert made["3d_cascade_fullres"]["inherits"] == "3d_fullres"
    assert "million weights" in planned.out and "GB" in planned.out
    before = tree(site)
    again = shell.run("plan", "--fingerprint", "F.json", "--dataset-json", "D.json", "-o", "P.json", cwd=site)
    assert again.code == 0 and tree(site) == before, "the same plan is left as it is"
    other = shell.fails("plan", "--fingerprint", "F.json", "--dataset-json", "D.json", "--preset", "resenc_l", "-o", "P.json", cwd=site)
    assert "P.json is there and differs" in other and "--force" in other


def test_without_output_nothing_is_written(shell: Shell, site: Path) -> None:
    before = tree(site)
    planned = shell.run("plan", "--fingerprint", "F.json", "--dataset-json", "D.json", "--explain", cwd=site)
    assert planned.code == 0, planned.err
    assert "batch_dice" in planned.out and "Nothing was written" in planned.out
    assert tree(site) == before


def test_a_plan_of_nnunets_becomes_one_of_ours(shell: Shell, site: Path) -> None:
    assert shell.run("plan", "--from", "nnUNetPlans.json", "--dataset-json", "D.json", "-o", "taken.json", cwd=site).code == 0
    assert shell.run("plan", "--fingerprint", "F.json", "--dataset-json", "D.json", "-o", "made.json", cwd=site).code == 0
    taken, made = configurations(site / "taken.json"), configurations(site / "made.json")
    assert taken.keys() == made.keys()
    for key in ("patch_size", "batch_size", "spacing", "network", "normalization"):
        assert taken["3d_fullres"][key] == made["3d_fullres"][key]
    assert "autoseg plan --from" in shell.fails("plan", "--validate", "nnUNetPlans.json", cwd=site)


def test_our_fingerprint_needs_nothing_else_and_names_no_case(shell: Shell, workspace: Path) -> None:
    assert shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace).code == 0
    fingerprint, plan = (workspace / "plans" / f"{DATASET}{ending}" for ending in (".fingerprint.json", ".json"))
    assert "BraTS20_Training" not in fingerprint.read_text()
    assert shell.run("plan", "--fingerprint", fingerprint, "--preset", "cpu", "-o", "P.json", cwd=workspace).code == 0
    assert json.loads((workspace / "P.json").read_text()) == json.loads(plan.read_text())


def test_an_edited_plan_is_checked(shell: Shell, workspace: Path) -> None:
    assert shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace).code == 0
    plan = workspace / "plans" / f"{DATASET}.json"
    content = json.loads(plan.read_text())
    content["configurations"]["mine"] = {"inherits": "3d_fullres", "batch_size": 1, "training": {"loss": "dice_focal"}}
    plan.write_text(json.dumps(content))
    checked = shell.run("plan", "--validate", plan, cwd=workspace)
    assert checked.code == 0, checked.err
    assert f"is a valid plan of {DATASET}: 2d, 3d_fullres, mine." in checked.out
    assert "Note: configurations.mine.batch_size: 1 makes" in checked.err
    content["configurations"]["mine"] |= {"patch_sise": [16, 16, 16], "inherits": "3d_fulres"}
    plan.write_text(json.dumps(content))
    said = shell.fails("plan", "--validate", plan, cwd=workspace)
    assert "configurations.mine.inherits" in said and "did you mean '3d_fullres'?" in said
    content["configurations"]["mine"]["inherits"] = "3d_fullres"
    plan.write_text(json.dumps(content))
    assert "configurations.mine.patch_sise: unknown key; did you mean patch_size?" in shell.fails("plan", "--validate", plan, cwd=workspace)


def test_explaining_reads_the_plan_and_no_image(shell: Shell, workspace: Path) -> None:
    assert shell.run("plan", "20", "--preset", "cpu", "--no-preprocess", cwd=workspace).code == 0
    before = tree(workspace)
    explained = shell.run("plan", "20", "--explain", cwd=workspace)
    assert explained.code == 0 and "check" not in explained.err
    assert "augmentation" in explained.out
    assert tree(workspace) == before


def test_a_dataset_takes_over_the_plan_of_another(shell: Shell, workspace: Path) -> None:
    (workspace / "raw_data" / "Dataset021_Other").symlink_to((workspace / "raw_data" / DATASET).resolve())
    assert shell.run("plan", "20", "--preset", "cpu", "--spacing", "1.2,1,1", "--no-preprocess", cwd=workspace).code == 0
    taken = shell.run("plan", "21", "--from", "20", "--no-preprocess", cwd=workspace)
    assert taken.code == 0, taken.err
    ours, theirs = (json.loads((workspace / "plans" / f"{name}.json").read_text()) for name in ("Dataset021_Other", DATASET))
    assert ours["dataset"]["name"] == "Dataset021_Other"
    for name, configuration in theirs["configurations"].items():
        assert {key: value for key, value in configuration.items() if key != "why"} == {
            key: value for key, value in ours["configurations"][name].items() if key != "why"
        }
    assert f"Taken over from the plan of {DATASET}" in taken.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name a dataset"),
        (["--fingerprint", "F.json"], "which names neither channels nor labels"),
        (["--fingerprint", "missing.json", "--dataset-json", "D.json"], "missing.json"),
        (["--fingerprint", "D.json", "--dataset-json", "D.json"], "D.json"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--preset", "huge"], "There is no preset 'huge'"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--gpu-memory", "much"], "--gpu-memory much: give a number of GB"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--gpu-memory", "0"], "--gpu-memory 0: give a number of GB above zero"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--preset", "cpu", "--gpu-memory", "auto"], "sized by time"),
        (["--from", "nnUNetPlans.json", "--dataset-json", "D.json", "--preset", "cpu"], "give none of them"),
        (["--from", "nnUNetPlans.json"], "--dataset-json"),
        (["--from", "absent.json", "--dataset-json", "D.json"], "absent.json does not exist"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--spacing", "1e9,1,1"], "the median image would have not one voxel"),
        (["--fingerprint", "F.json", "--dataset-json", "D.json", "--spacing", "0.001,0.001,0.001"], "voxels. Give another spacing"),
        (["--validate", "F.json"], "F.json is not a valid plan"),
        (["--validate", "F.json", "--preset", "cpu"], "leave out everything else"),
    ],
)
def test_what_cannot_be_planned_is_said_calmly(shell: Shell, site: Path, arguments: list[str], said: str) -> None:
    assert said in shell.fails("plan", *arguments, cwd=site)


def test_planning_from_a_fingerprint_imports_no_torch(site: Path) -> None:
    arguments = ["plan", "--fingerprint", "F.json", "--dataset-json", "D.json"]
    command = [sys.executable, "-X", "importtime", "-m", "autoseg", *arguments]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "autoseg.planning.planner" in imported
    assert not [name for name in imported if name.partition(".")[0] == "torch"]

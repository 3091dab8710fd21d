"""The published schema is the code's, and an independent validator comes to the same verdicts as reading does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from autoseg.errors import PlanError
from autoseg.planning.plan import file_content, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.schema.json_schema import plan_schema, schema_text

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(plan_schema())
ANISOTROPIC = {"shapes": [(30, 300, 300)] * 4, "spacings": [(5.0, 0.7, 0.7)] * 4, "channels": ("CT", "T1")}
LARGE = {"shapes": [(300, 512, 512)] * 20, "spacings": [(1.0, 0.8, 0.8)] * 20}


def edited(content: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with another value at a path; `...` removes."""
    content = json.loads(json.dumps(content))
    *parents, last = path.split(".")
    part = content
    for key in parents:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return content


@pytest.fixture(scope="module")
def content(facts_of: Callable[..., Any]) -> dict[str, Any]:
    """A plan's file with an inheriting configuration, "mine"."""
    made = file_content(make_plan(*facts_of(**ANISOTROPIC)))
    mine = {
        "inherits": "3d_fullres",
        "batch_size": 3,
        "network": {"family": "residual_unet"},
        "training": {"loss": "ce", "recipes": {"default": None, "fast": {"augmentation": {"gamma": None, "scaling": {"probability": 0.5}}}}},
        "inference": None,
    }
    return made | {"configurations": {"mine": mine} | made["configurations"]}


def test_the_published_schema_is_the_codes() -> None:
    published = (ROOT / "docs" / "plan.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(), "write it anew: python -m autoseg.planning.schema.json_schema > docs/plan.schema.json"
    printed = subprocess.run([sys.executable, "-m", "autoseg.planning.schema.json_schema"], capture_output=True, check=True, cwd=ROOT)
    assert printed.stdout.decode() == published
    assert printed.stderr == b""


def test_it_is_a_schema_that_explains_every_key() -> None:
    schema = plan_schema()
    Draft202012Validator.check_schema(schema)
    for name, block in {"Plan": schema, **schema["$defs"]}.items():
        assert block["additionalProperties"] is False, name
        assert block["title"]
        assert block["description"]
        assert not [key for key, field in block["properties"].items() if not field.get("description")], name


@pytest.mark.parametrize("facts", [ANISOTROPIC, LARGE, {"shapes": [(1, 300, 200)] * 2, "spacings": [(999.0, 1.0, 1.0)] * 2}])
@pytest.mark.parametrize("preset", ["default", "cpu", "resenc_l"])
def test_planned_plans_pass(facts: dict[str, Any], preset: str, facts_of: Callable[..., Any]) -> None:
    plan = make_plan(*facts_of(**facts), preset=preset)
    VALIDATOR.validate(file_content(plan))
    VALIDATOR.validate(plan.model_dump(mode="json"))


SOUND = [
    ("$schema", "../docs/plan.schema.json"),
    ("configurations.mine.spacing", [5, 1, 1]),
    ("configurations.mine.previous_stage", None),
    ("configurations.mine.network.family", ...),
    ("configurations.3d_fullres.inherits", None),
    ("configurations.2d.training.recipes.fast", ...),
    ("configurations.2d.training.loss", "ce_bce"),
    ("configurations.2d.training.loss", "bce_ce_tversky_dice_focal"),
    ("configurations.2d.training.class_weights", [0.5, 1, 2]),
    ("configurations.2d.training.recipes.fast.stop_after", 3),
    ("configurations.3d_fullres.why", ...),
]
FAULTY = [
    ("configuration", {}),
    ("dataset.labels.names", "tumour"),
    ("transpose_forward", [0, 1, 3]),
    ("configurations.a b", {"inherits": "2d"}),
    ("configurations.2d.pach_size", [64, 64]),
    ("configurations.2d.batch_size", ...),
    ("configurations.2d.batch_size", 0),
    ("configurations.2d.batch_size", None),
    ("configurations.2d.training.loss", "dice_c"),
    ("configurations.2d.training.loss", "ce_dice_ce"),
    ("configurations.2d.training.loss", "bce_"),
    ("configurations.2d.training.loss", ""),
    ("configurations.2d.training.class_weights", [1, -1, 1]),
    ("configurations.2d.training.recipes.fast.stop_after", 0),
    ("configurations.2d.training.recipes.slow", {}),
    ("configurations.mine.pach_size", [64, 64]),
    ("configurations.mine.inherits", ...),
    ("configurations.mine.inherits", 3),
    ("configurations.mine.batch_size", "many"),
    ("configurations.mine.batch_size", None),
    ("configurations.mine.network.family", "u_net"),
    ("configurations.mine.network.depth", 5),
    ("configurations.mine.normalization", [{"channel": "CT"}, {"channel": "T1"}]),
    ("configurations.mine.training.recipes.fast.learning_rate", -1),
    ("configurations.mine.training.recipes.fast.augmentation.gama", {}),
]
ONLY_READING_FINDS = [("configurations.mine.batch_size", None)]  # null removes, and there is no other batch size


@pytest.mark.parametrize(("path", "value"), SOUND)
def test_what_is_read_passes(path: str, value: object, content: dict[str, Any]) -> None:
    validate_plan(edited(content, path, value), "x")
    VALIDATOR.validate(edited(content, path, value))


@pytest.mark.parametrize(("path", "value"), FAULTY)
def test_what_is_refused_fails(path: str, value: object, content: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        validate_plan(edited(content, path, value), "x")
    assert VALIDATOR.is_valid(edited(content, path, value)) == ((path, value) in ONLY_READING_FINDS)


@pytest.mark.parametrize(
    ("path", "value", "place", "said"),
    [
        ("configurations.mine.network.famly", "unet", "configurations.mine.network", "'famly' was unexpected"),
        ("configurations.mine.network.family", "u_net", "configurations.mine.network.family", "'u_net' is not one of ['plain_unet', 'residual_unet'"),
        ("configurations.2d.training.recipes.fast.optimiser", "sgd", "configurations.2d.training.recipes.fast", "'optimiser' was unexpected"),
    ],
)
def test_a_mistake_is_marked_where_it_stands(path: str, value: object, place: str, said: str, content: dict[str, Any]) -> None:
    found = {".".join(map(str, error.absolute_path)): error.message for error in VALIDATOR.iter_errors(edited(content, path, value))}
    assert said in found[place]

"""The documentation says what the program does: links, commands, options, plan keys and recipe numbers are compared with the code."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from autoseg import api
from autoseg.cli.main import app
from autoseg.evaluation.result import METRICS
from autoseg.evaluation.schemes import SCHEMES, TUMOURS
from autoseg.planning.plan import Augmentation, Plan, Transform
from autoseg.planning.presets import PRESETS
from autoseg.planning.rules.recipes import recipes
from autoseg.planning.zoo.recipe import ZooRecipe
from autoseg.planning.zoo.recipes import own_recipes
from autoseg.training.run_log import FIXED

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "plans" / "README.md", ROOT / "raw_data" / "README.md"]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in _anchors(file), f"{page.name} links to {target}, a heading that {path} does not have"


def test_readme_lists_every_command_with_every_option() -> None:
    rows = {cells[0].strip("`").split()[1]: cells for cells in _rows(ROOT / "README.md") if cells[0].startswith("`autoseg ")}
    assert rows.keys() == COMMANDS.keys()
    for name, cells in rows.items():
        arguments = [word.lower() for word in cells[0].strip("`").split()[2:]]
        assert arguments == [parameter.name for parameter in COMMANDS[name].params if parameter.param_type_name == "argument"]
        named = set(re.findall(r"`(-[^`\s]+)`", cells[2]))
        assert named == _options(name), f"README's row of {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_can_be_typed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^    (?:\$ )?(autoseg .*)$", text, re.MULTILINE):
        words = shlex.split(line)
        if words[1] in COMMANDS and "[" not in line:  # else a line of output, or a synopsis
            COMMANDS[words[1]].make_context(words[1], words[2:])  # raises where it cannot be parsed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_are_mentioned_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command, rest in re.findall(r"(?:`|^    (?:\$ )?)autoseg (\w+)\b(?!:)([^`\n]*)", text, re.MULTILINE):
        if command != "COMMAND":
            assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", rest)) <= _options(command), f"autoseg {command}{rest}"
    alone = set(re.findall(r"`(--[a-z][\w-]*)", text))
    assert alone <= {"--help"}.union(*map(_options, COMMANDS), _options_of_benchmarks(text))


def test_plan_page_explains_every_key_once_for_each_block() -> None:
    expected = Counter(field.alias or key for block in _blocks(Plan) for key, field in block.model_fields.items())
    rows = _rows(ROOT / "docs" / "plan.md", heading="The fields")
    explained = Counter(match[1] for cells in rows if (match := re.fullmatch(r"`([$\w]+)`", cells[0])))
    assert explained == expected


def test_plan_page_names_every_choice() -> None:
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    choices = {choice for block in _blocks(Plan) for field in block.model_fields.values() for choice in _literals(field.annotation)}
    assert {"zscore", "residual_unet", "bfloat16"} <= choices
    assert not [choice for choice in sorted(choices) if f"`{choice}`" not in text]


def test_presets_are_those_of_the_code() -> None:
    shown = [cells for cells in _rows(ROOT / "docs" / "plan.md", heading="Presets") if cells[0].startswith("`")]
    expected = []
    for name, preset in PRESETS.items():
        limits = [f"{sizing.max_batch} in {axes}D" for axes, sizing in ((3, preset.volumes), (2, preset.slices)) if sizing.max_batch]
        numbers = (preset.base_features, preset.reference_gb, preset.epochs, preset.iterations_per_epoch)
        expected.append([f"`{name}`", f"`{preset.family}`", *(f"{number:g}" for number in numbers), ", ".join(limits) or "-"])
    assert shown == expected


def test_recipe_table_holds_the_numbers_of_the_code() -> None:
    shown = [cells[:3] for cells in _rows(ROOT / "docs" / "training.md", heading="The two recipes") if cells[0].startswith("`")]
    by_name = recipes((64, 64, 64), 16)
    parts = [dict(recipe) | dict(recipe.augmentation) for recipe in (by_name["default"], by_name["fast"])]
    keys = [key for key in (*type(by_name["fast"]).model_fields, *Augmentation.model_fields) if key != "augmentation"]
    assert shown == [[f"`{key}`", *(_cell(part[key]) for part in parts)] for key in keys]


def test_recipes_page_lists_every_recipe_and_explains_every_key() -> None:
    rows = _rows(ROOT / "docs" / "recipes.md")
    first = {name for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}
    assert first == own_recipes().keys() | ZooRecipe.model_fields.keys()


def test_log_columns_are_explained() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert not [column for column in FIXED if f"`{column}`" not in text]


def test_schemes_are_explained() -> None:
    text = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    assert not [name for name in (*SCHEMES, *TUMOURS) if f"| `{name}`" not in text]


def test_metrics_are_explained() -> None:
    text = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    assert not [name for name in METRICS if f"`{name}`" not in text]


def test_api_page_names_every_function_with_its_parameters() -> None:
    shown = {match[1]: match[2] for cells in _rows(ROOT / "docs" / "api.md") if (match := re.fullmatch(r"`(\w+)\((.*)\)`", cells[0]))}
    expected = {name: getattr(api, name) for name in api.__all__ if name[0].islower()}
    assert shown.keys() == expected.keys()
    for name, function in expected.items():
        parameters = [parameter for parameter in function.__annotations__ if parameter != "return"]
        assert [word for word in shown[name].split(", ") if word != "*"] == parameters, name


@pytest.mark.slow
def test_api_example_runs(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    done = subprocess.run([sys.executable, "-c", code[0]], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "BraTS20_Training_007" in done.stdout


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _rows(page: Path, *, heading: str = "") -> list[list[str]]:
    """The cells of all tables on a page, or below one of its headings of the second level."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def _options(command: str) -> set[str]:
    """All spellings of a command's options but that of help."""
    parameters = [parameter for parameter in COMMANDS[command].params if parameter.param_type_name == "option"]
    return {spelling for parameter in parameters for spelling in (*parameter.opts, *parameter.secondary_opts)} - {"-h", "--help"}


def _options_of_benchmarks(text: str) -> set[str]:
    """Options of the scripts that a page names."""
    scripts = [ROOT / name for name in re.findall(r"benchmarks/\w+\.py", text)]
    return {option for script in scripts for option in re.findall(r"add_argument\(\"(--[a-z-]+)", script.read_text(encoding="utf-8"))}


def _blocks(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A pydantic model and all that its fields are made of, each once."""
    found = {model: None}
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= dict.fromkeys(_blocks(part))
    return list(found)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _literals(annotation: Any) -> set[str]:
    return {part for part in _parts(annotation) if isinstance(part, str)}


def _cell(value: Any) -> str:
    """A recipe's number as the table writes it."""
    if value is None:
        return "-"
    if isinstance(value, Transform):
        return f"{value.probability:g}: {value.range[0]:g} to {value.range[1]:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else f"{value:g}"

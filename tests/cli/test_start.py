"""How the program starts: at once, and with nothing that the command does not need."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "pandas", "pydantic", "scipy", "SimpleITK", "nibabel", "matplotlib", "blosc2")
LOOK = f"""
import sys
from autoseg.cli.main import run
sys.argv = ["autoseg", *sys.argv[1:]]
try:
    run()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
print("loaded:", *(name for name in {HEAVY} if name in sys.modules))
"""


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "-h"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = python("-c", LOOK, *arguments)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert loaded <= (set() if arguments == ["--help"] else {"pydantic"})  # which the library that parses options may use to parse them


def test_the_package_loads_nothing_heavy_and_offers_its_functions() -> None:
    done = python("-c", f"import sys, autoseg\nprint(*(name for name in {HEAVY} if name in sys.modules))\nprint(autoseg.plan, autoseg.AutosegError)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ""


def test_an_unknown_function_is_no_attribute() -> None:
    assert "AttributeError: module 'autoseg' has no attribute 'segment'" in python("-c", "import autoseg; autoseg.segment").stderr


def test_evaluation_does_not_load_torch() -> None:
    assert python("-c", "import sys, autoseg; autoseg.evaluate; print('torch' in sys.modules)").stdout == "False\n"


def test_help_takes_less_than_a_third_of_a_second() -> None:
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        assert python("-m", "autoseg", "--help").returncode == 0
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    assert min(seconds) < 0.3  # of the processor; about 0.1 where nothing else runs


def test_the_installed_command_and_the_module_are_the_same() -> None:
    installed = subprocess.run([str(Path(sys.executable).with_name("autoseg")), "--version"], capture_output=True, text=True, check=False)
    module = python("-m", "autoseg", "--version")
    assert installed.returncode == module.returncode == 0
    assert installed.stdout == module.stdout
    assert installed.stdout.startswith("autoseg ")


def test_without_a_command_help_is_shown() -> None:
    done = python("-m", "autoseg")
    for command in ("check", "plan", "train", "crossval", "predict", "ensemble", "evaluate", "compare", "demo"):
        assert f"\n  {command} " in done.stdout + done.stderr
    assert "...\n" not in (done.stdout + done.stderr).split("Commands:")[1], "a summary is cut short"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segment"], "No such command 'segment'"),
        (["train"], "Missing argument 'configuration'"),
        (["train", "3d_fullres"], "Missing argument 'fold'"),
        (["predict", "--colour", "red"], "No such option: --colour"),
        (["train", "3d_fullres", "0", "--epochs", "many"], "Invalid value for '--epochs'"),
    ],
)
def test_a_wrong_word_is_2_and_named(arguments: list[str], said: str) -> None:
    done = python("-m", "autoseg", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""

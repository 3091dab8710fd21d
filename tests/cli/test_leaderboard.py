"""`autoseg leaderboard` as a user types it."""

from pathlib import Path

import pytest

from autoseg.cli.leaderboard import show_costs, show_dice, show_published
from autoseg.evaluation.leaderboard import rank
from autoseg.planning.zoo.recipe import Published
from tests.cli.conftest import DATASET, Shell, link_workspace
from tests.evaluation.test_leaderboard import COSTS, GOOD, contestant


def test_tables_and_files(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = link_workspace(trained, tmp_path / "work", models=True)
    done = shell.run("leaderboard", cwd=place)
    assert done.code == 0, done.err
    assert done.headline == f"autoseg leaderboard: dataset {DATASET}"
    for said in ("mean Dice", "HD95 mm", "GFLOPs a case", "s a case", "peak memory", "3d_fullres"):
        assert said in done.out
    folder = place / "models" / DATASET
    assert all((folder / f"leaderboard.{ending}").stat().st_size > 0 for ending in ("json", "csv", "png"))
    assert "has no configuration 4d" in shell.fails("leaderboard", DATASET, "-c", "4d", cwd=place)


def test_what_a_board_shows(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Published(metric="dice", value=0.91, data="their scans", differs="split by slices")
    board = rank([contestant("good", GOOD.tables, COSTS, [figure])])
    for show in (show_dice, show_costs, show_published):
        show(board)
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "good 843 0.00975 20 s 100 to 300 2 0.5 1.00 GB -" in lines
    assert "good dice 0.8000 0.91 their scans split by slices" in lines

"""`autoseg`: the commands and how they end.

- Nothing heavy is imported before a command needs it; `autoseg --help` answers at once.
- A user's mistake is a message and exit code 1; a wrong option 2; Ctrl-C 130. Only a defect of ours shows a traceback.
- Help is plain text: loading what would frame and colour it takes longer than everything else together.
"""

import gc
import sys
from typing import Annotated

import typer

from autoseg.cli import check, compare, crossval, demo, ensemble, evaluate, leaderboard, locate, plan, predict, recipes, select, train
from autoseg.cli.console import resumable
from autoseg.errors import AutosegError, Interrupted

GC_THRESHOLDS = 50_000, 10, 10  # instead of 700, 10, 10: what is imported stays, and looking for garbage among it is a seventh of a start

app = typer.Typer(
    name="autoseg",
    help="Self-configuring segmentation of medical images: plan a dataset, train on it, predict new scans.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    check.check, recipes.recipes, plan.plan, train.train, crossval.crossval, leaderboard.leaderboard, select.select, predict.predict, locate.locate,
    ensemble.ensemble, evaluate.evaluate, compare.compare, demo.demo,
):  # fmt: skip
    app.command()(resumable()(command))


@app.callback(invoke_without_command=True)
def _common(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"autoseg {installed('autoseg')}")
        raise typer.Exit


def run() -> None:
    """The entry point."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        app()
    except Interrupted as stop:
        _tell(str(stop))
        sys.exit(130)
    except AutosegError as error:
        _tell(f"Error: {error}")
        sys.exit(1)
    except OSError as error:  # a full disk, a vanished network drive
        _tell(f"Error: {error}. Mend it and run the same command again; what was finished is kept.")
        sys.exit(1)


def _tell(text: str) -> None:
    sys.stdout.flush()
    typer.echo(text, err=True)

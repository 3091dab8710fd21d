"""Every stage of autoseg beside nnU-Net 2.8.1: the same data, the same machine, one run.

    python benchmarks/vs_nnunet.py --data FOLDER [--runs 3] [--stage NAME ...] [--nnunet PYTHON] [--work FOLDER] [--output TABLE.md]

- FOLDER holds `brats_as_downloaded/` (cases of BraTS, each with flair, t1, t1ce, t2 and seg) and `Dataset004_Hippocampus/` (nnU-Net's layout);
  without it synthetic brains of the same sizes are used.
- nnU-Net lives in an environment of its own, made in the work folder with the PyTorch version that this environment has; --nnunet names the
  interpreter of one that is there.
- Each side first does its work once while its memory is watched, and what both made is compared: plans, ready voxels, windows, losses, segmentations.
  Where that differs the stage is not measured. Then both take turns, A B B A, and the median of the paired ratios counts.
- Granted to nnU-Net: as many processes as there are cores, a choice of its documented settings of which the fastest counts, no compilation on a CPU.
- Only stages that end with a difference or an error make the exit code 1; a missed goal does not.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone is what is measured

from nnunet import commands, predict, train
from nnunet.environment import cores_at_hand, provide
from nnunet.ground import Ground
from nnunet.pairs import Row, table
from nnunet.stage import Different, Stage, carry_out
from nnunet.watch import Failed

STAGES: Sequence[Stage] = (*commands.STAGES, *train.STAGES, *predict.STAGES)
BUSY = 0.5  # load average for each core at the start, above which the report says that the machine was not idle


def main() -> int:
    """Measure and print; 1 where a stage failed."""
    options = parsed()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was started is stopped too
    chosen = [stage for stage in STAGES if not options.stage or stage.name in options.stage]
    with tempfile.TemporaryDirectory(prefix="vs_nnunet_") as temporary:
        root = (options.work or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        theirs = provide(options.nnunet, root / "environment")
        cores = cores_at_hand()
        heading = header(theirs.versions(), cores, options)
        print(heading, flush=True)
        ground = Ground(root / ("small" if options.small else "full"), theirs, cores, options.data, small=options.small)
        rows, failures = measured(chosen, ground, options.runs)
    report = "\n\n".join([heading, table(rows), remarks(rows), *failures])
    print(f"\n{report}")
    if options.output:
        options.output.write_text(report + "\n", encoding="utf-8")
    return 1 if failures else 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare autoseg with nnU-Net 2.8.1, stage by stage.")
    parser.add_argument("--data", type=Path, help="folder with brats_as_downloaded/ and Dataset004_Hippocampus/; default: synthetic scans")
    parser.add_argument("--runs", type=int, default=3, help="pairs of measurements for each stage (3)")
    parser.add_argument("--stage", action="append", choices=[stage.name for stage in STAGES], help="only this stage; may be repeated")
    parser.add_argument("--nnunet", type=Path, metavar="PYTHON", help="interpreter of an environment that has nnU-Net 2.8.1")
    parser.add_argument("--work", type=Path, help="folder to work in, kept afterwards (default: a temporary one)")
    parser.add_argument("--output", type=Path, help="also write the report here")
    parser.add_argument("--small", action="store_true", help="a trial: few cases, short measurements; its ratios mean nothing")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    return options


def measured(stages: Sequence[Stage], ground: Ground, pairs: int) -> tuple[list[Row], list[str]]:
    """The rows of the table, and what went wrong with the other stages."""
    rows, failures = [], []
    for stage in stages:
        try:
            rows.append(carry_out(stage, ground, pairs, lambda text: print(text, flush=True)))
        except (Different, Failed) as error:
            failures.append(f"**{stage.name}: {'not the same work' if isinstance(error, Different) else 'failed'}.** {error}")
            print(f"  {failures[-1]}", flush=True)
    return rows, failures


def header(versions: dict[str, str], cores: int, options: argparse.Namespace) -> str:
    """When, where, what."""
    load = os.getloadavg()[0]
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M')}, {processor()}, {cores} cores, Python {platform.python_version()}, {platform.system()}",
        f"autoseg with torch {version('torch')}; nnU-Net {versions['nnunetv2']} with torch {versions['torch']}, numpy {versions['numpy']}",
        f"Command: `{' '.join(['python', *sys.argv])}`",
        f"Load average at the start: {load:.1f}" + (" - the machine was not idle: these figures are no measurements" if load > BUSY * cores else ""),
    ]
    if versions["torch"].partition("+")[0] != version("torch").partition("+")[0]:
        lines.append("The two use different versions of PyTorch.")
    if options.small:
        lines.append("A trial with few cases and short measurements: its ratios mean nothing.")
    if options.data is None:
        lines.append("Synthetic scans.")
    return "\n".join(f"- {line}" for line in lines)


def remarks(rows: Sequence[Row]) -> str:
    """What was compared, stage by stage."""
    return "\n".join(f"- {row.title}: {'; '.join(row.remarks)}" for row in rows if row.remarks)


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    sys.exit(main())

"""Planning: how many decisions equal the peer's, how long a plan takes, and what is imported for it.

    python -m benchmarks.planning

Prints the number of fingerprints whose plans by nnU-Net 2.8.1 are known (tests/planning/data), the fields compared and the mismatches; the time of
a plan for 1,251 cases with every preset (best of several); and, from `python -X importtime`, that planning imports no torch.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS
from tests.planning.conftest import make_facts
from tests.planning.parity import compare, everything

ROOT = Path(__file__).parents[1]
CASES = 1251
DATASETS = {
    "brain MR, 1 mm": ((140, 172, 138), (1.0, 1.0, 1.0)),
    "prostate MR, 3.6 x 0.6 x 0.6 mm": ((24, 320, 320), (3.6, 0.6, 0.6)),
    "whole-body CT": ((500, 512, 512), (1.0, 0.8, 0.8)),
    "pictures": ((1, 640, 640), (1.0, 1.0, 1.0)),
}
HEAVY = ("torch", "SimpleITK", "nibabel", "scipy", "pandas", "matplotlib")
REPEATS = 9


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    _parity()
    _speed()
    _imports()


def _parity() -> None:
    compared = [(vector.name, compare(vector)) for vector in everything()]
    wrong = [
        f"{name}: {field}: {ours} instead of {theirs}" for name, fields in compared for field, (ours, theirs) in fields.items() if ours != theirs
    ]
    print(f"vectors {len(compared)}, fields compared {sum(len(fields) for _, fields in compared)}, mismatches {len(wrong)}")
    print("\n".join(wrong))


def _speed() -> None:
    print(f"milliseconds for a plan of {CASES:,} cases, best of {REPEATS}")
    print(f"| dataset | {' | '.join(PRESETS)} |\n|---|{'---|' * len(PRESETS)}")
    for name, (shape, spacing) in DATASETS.items():
        facts = make_facts([shape] * CASES, [spacing] * CASES, channels=("T1", "T2"), classes=4)
        print(f"| {name} | {' | '.join(f'{_best(facts, preset):.1f}' for preset in PRESETS)} |")


def _best(facts: tuple[object, object], preset: str) -> float:
    took = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        make_plan(*facts, preset=preset)  # type: ignore[arg-type]
        took.append(time.perf_counter() - begun)
    return 1000 * min(took)


def _imports() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import autoseg.planning.planner"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:") and "self" not in line]
    own = {name.strip(): int(microseconds) for microseconds, _, name in rows}
    packages: dict[str, int] = {}
    for name, microseconds in own.items():
        packages[name.split(".")[0]] = packages.get(name.split(".")[0], 0) + microseconds
    slowest = sorted(packages, key=lambda name: packages[name], reverse=True)[:5]
    print(f"\npython -X importtime -c 'import autoseg.planning.planner': {len(own)} modules, {sum(own.values()) / 1000:.0f} ms")
    print("  most of it: " + ", ".join(f"{name} {packages[name] / 1000:.0f} ms" for name in slowest))
    print("  imported of the heavy ones: " + (", ".join(name for name in HEAVY if name in packages) or "none") + f" (looked for {', '.join(HEAVY)})")


if __name__ == "__main__":
    main()

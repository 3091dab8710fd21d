"""What it is worth that a network sees whole pictures: the same time on a CPU with pictures as they are stored, and as the preset makes them coarser.

    python benchmarks/pictures.py DATASET_FOLDER --budget 10m

The folder is a dataset of pictures in any known layout. Fold 0 is trained twice in a workspace that is thrown away, and its cases are judged at
their own size: the mean Dice over all cases, and over those in which there is something to find.

Two cores with AVX2, 2026-11-21, 201 pictures of 640 x 640 with brain tumours in COCO's format (160 to train on, 41 judged, 25 with a tumour), 10
minutes each: 0.376 and 0.617 as stored (1 x 1, a patch sees 36 %), 0.452 and 0.741 whole (1.667 x 1.667, set by hand before the preset chose 1.605).
"""

import argparse
import tempfile
from pathlib import Path

import autoseg
from autoseg.evaluation.result import Evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--budget", default="10m")
    arguments = parser.parse_args()
    print("| pictures | spacing | patch | steps | mean Dice | where there is something |\n|---|---|---|---|---|---|")
    for name, spacing in (("as stored", (1.0, 1.0, 1.0)), ("as planned", None)):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "raw_data").mkdir()
            (Path(folder) / "raw_data" / "Pictures").symlink_to(arguments.dataset.resolve())
            plan = autoseg.plan("Pictures", workspace=folder, preset="cpu", spacing=spacing).plan.configuration("2d")
            (trained,) = autoseg.train("2d", 0, dataset="Pictures", workspace=folder, budget=arguments.budget, device="cpu")
        if not isinstance(trained.evaluation, Evaluation):
            raise SystemExit("The pictures were not segmented.")
        table = trained.evaluation.table
        there = table[table["tp"] + table["fn"] > 0]
        grid, patch = (" x ".join(f"{value:.4g}" for value in values) for values in (plan.spacing, plan.patch_size))
        print(
            f"| {name} | {grid} | {patch} | {trained.steps} | {trained.evaluation.foreground_mean():.4f} | {there['dice'].mean():.4f} |", flush=True
        )


if __name__ == "__main__":
    main()

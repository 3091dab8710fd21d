"""Which number ranks the segmentations that a human should look at: how well each follows the error of cases that no network saw.

    python benchmarks/uncertainty.py WORKSPACE [-d DATASET]

- For each configuration, and for the mean of all of them: Spearman's rank correlation over the out-of-fold predictions whose probabilities are there
  (`models/<dataset>/<configuration>/fold_<k>/validation/*.npz`). The error of a case is 1 minus the mean Dice over what the networks learnt.
- Doubt, stability, agreement and entropy are the package's own, fed with the stored probabilities; expected Dice, which it does not have, is below.
- The disagreement between configurations is 1 minus the agreement of each one's decision with that of their mean; it is held against the error of
  each configuration too.
- Nothing is written, trained or predicted.

What was learnt from 160 cases of Task04 hippocampus (short trainings with the preset cpu; rho of 2d, 3d_fullres and their mean):

- Expected Dice hardly follows the error: 0.23, 0.04, 0.25. Tiny probabilities far away, and borders that are blurred in every case alike,
  outweigh what differs from case to case. The mean entropy of the foreground is worse: 0.09, 0.03, 0.10.
- Stability does, though far from perfectly: 0.43, 0.25, 0.33. Thresholds from 0.2 to 0.4, with their complements, rank alike (0.39 to 0.44, 0.25 to
  0.29, 0.28 to 0.35), so 0.25 and 0.75 are no fitted numbers.
- Disagreement between the configurations follows it as well: 0.48, 0.35, 0.32. Doubt takes both where there are several members, 0.33 for the mean:
  no better here, but they fail for different reasons.
- These cases also chose the number. On 40 others, by all ten networks together, doubt reached 0.29 (p = 0.07), expected Dice 0.15 (p = 0.4).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autoseg.api._out_of_fold import OutOfFold, find_out_of_fold
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError
from autoseg.evaluation.evaluate import evaluate_case
from autoseg.evaluation.targets import targets_learned
from autoseg.imaging.image import LabelMap
from autoseg.imaging.read import read_labels
from autoseg.inference.ensembling import mean_argmax, mean_regions
from autoseg.inference.probabilities import ProbabilityFile
from autoseg.inference.uncertainty import Gauge
from autoseg.planning.plan import Plan
from autoseg.preprocessing.placement import Placement
from autoseg.workspace import Workspace

ERROR = "error"
DISAGREEMENT = "disagreement between configurations"
FEWEST = 6  # cases, below which a rank says nothing


def main() -> None:
    """Print a table for each configuration and for their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("-d", "--dataset", help="default: the one last planned")
    arguments = parser.parse_args()
    try:
        tables = measure(Workspace.find(arguments.workspace), arguments.dataset)
    except AutosegError as error:
        parser.exit(1, f"{error}\n")
    for name, table in tables.items():
        print(f"\n{name}: {len(table)} cases, mean Dice {1 - table[ERROR].mean():.4f}")
        if len(table) < FEWEST:
            print(f"fewer than {FEWEST} with probabilities: autoseg select makes them")
            continue
        print(f"| {'Spearman correlation with the error':40s} |   rho |       p |\n|---|---|---|")
        for column in table.columns.drop(ERROR):
            found = spearmanr(table[column], table[ERROR], nan_policy="omit")
            print(f"| {column:40s} | {found.statistic:5.2f} | {found.pvalue:7.1e} |")


def measure(place: Workspace, dataset: str | None) -> dict[str, pd.DataFrame]:
    """Configuration, or all joined by " + " -> a row a case, with the error and what might follow it."""
    name = place.resolve(dataset) if dataset else place.current()
    references = {case.name: case.label for case in open_dataset(place.raw(name)).cases if case.label is not None}
    root = place.root / "models" / name
    trained = sorted({file.relative_to(root).parts[0] for file in root.glob("*/fold_*/validation/*.npz")})
    if not trained:
        raise AutosegError(f"{root} has no out-of-fold probabilities. Train two configurations, and let autoseg select make them.")
    configurations = [one for other in trained for one in find_out_of_fold(place, name, (other,), print)[0]]
    groups = [[one] for one in configurations] + ([configurations] if len(configurations) > 1 else [])
    tables = {" + ".join(one.name for one in group): table(group, references) for group in groups}
    *alone, together = tables.values()
    for one in alone:
        one[DISAGREEMENT] = together[DISAGREEMENT]
    return tables


def table(members: Sequence[OutOfFold], references: dict[str, Path]) -> pd.DataFrame:
    """A row for each case of which all members have probabilities."""
    shared = set.intersection(set(references), *(set(one.folders) for one in members))
    there = [case for case in sorted(shared) if all(one.probabilities(case).is_file() for one in members)]
    return pd.DataFrame([row(members, case, read_labels(references[case])) for case in there], index=there)


def row(members: Sequence[OutOfFold], case: str, reference: LabelMap) -> dict[str, float]:
    """What is measured of a case."""
    plan = members[0].plan
    own = [np.stack([channel.astype(np.float32) for channel in ProbabilityFile.open(one.probabilities(case))]) for one in members]
    soft_CZYX, classes_ZYX = np.stack(own).mean(axis=0), decided(own, plan)
    geometry, shape = reference.geometry, classes_ZYX.shape
    box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    gauge = Gauge(plan, len(members), shape)
    gauge.add(box[0], torch.from_numpy(soft_CZYX), torch.from_numpy(classes_ZYX), (torch.from_numpy(decided([one], plan)) for one in own))
    found = gauge.result(Placement(geometry, box, (0, 1, 2), shape, geometry.spacing, geometry.spacing))
    targets = [one for one in targets_learned(plan.labels, regions=plan.learns_regions) if one.region == plan.learns_regions]
    judged = evaluate_case(
        LabelMap(plan.labels.to_values(classes_ZYX), geometry), reference, targets, scheme="nnunet", ignore=plan.labels.ignore, surface=False
    )
    return {
        ERROR: 1 - float(np.nanmean([one.metrics["dice"] for one in judged])),
        "doubt": found.doubt,
        "1 - stability": 1 - float(np.mean(list(found.stability.values()))),
        "foreground entropy": np.nan if found.foreground_entropy is None else found.foreground_entropy,
        "1 - expected Dice": 1 - expected_dice(soft_CZYX, classes_ZYX, plan),
    } | ({} if found.agreement is None else {DISAGREEMENT: 1 - found.agreement})


def decided(members: Sequence[NDArray[np.float32]], plan: Plan) -> NDArray[np.int16]:
    """Classes by the mean of probabilities."""
    return mean_regions(members, plan.labels.painted_classes) if plan.learns_regions else mean_argmax(members)


def expected_dice(soft_CZYX: NDArray[np.float32], classes_ZYX: NDArray[np.int16], plan: Plan) -> float:
    """The Dice that would come out on average if the probabilities were right; of what was found nowhere, 1 minus the largest of them."""
    regions = plan.labels.region_classes if plan.learns_regions else [(k,) for k in range(1, len(soft_CZYX))]
    values = []
    for p_ZYX, classes in zip(soft_CZYX if plan.learns_regions else soft_CZYX[1:], regions, strict=True):
        inside = np.isin(classes_ZYX, classes)
        values.append(2 * p_ZYX[inside].sum() / (p_ZYX.sum() + inside.sum()) if inside.any() else 1 - p_ZYX.max())
    return float(np.mean(values))


if __name__ == "__main__":
    main()

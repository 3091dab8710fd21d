"""What a change to the `fast` recipe is worth: equal steps, equal cases, Dice on the cases of fold 0 that were held out.

    python benchmarks/recipes.py WORKSPACE DATASET --steps 300 --cases 20 as-planned mirror_axes=0,1,2 learning_rate=0.004

Each variant is `key=value[;key=value]` of the recipe (or `batch_size`, `patch_size`, `mirror_axes`); a step costs the same in all variants unless
patch or batch differ, and the time of each is printed beside its Dice. The dataset must be planned (with --preset cpu for a CPU).
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from autoseg.data.folds import read_folds, split
from autoseg.data.layouts import open_dataset
from autoseg.evaluation.evaluate import evaluate_folder
from autoseg.inference.execution import pick_device
from autoseg.inference.model_folder import load_model
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import Source, predict_cases
from autoseg.planning.plan import Plan, read_plan, validate_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.training.batches import PatchSource
from autoseg.training.schedule import Target
from autoseg.training.trainer import Trainer
from autoseg.workspace import Workspace

CONFIGURATION = "3d_fullres"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("variants", nargs="+", help="'as-planned' or key=value[;key=value]")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--cases", type=int, default=20, help="held-out cases to judge")
    arguments = parser.parse_args()
    print("| variant | steps | s/step | training s | Dice |\n|---|---|---|---|---|")
    for variant in arguments.variants:
        steps, seconds, dice = run(Workspace.find(arguments.workspace), arguments.dataset, variant, arguments.steps, arguments.cases)
        print(f"| {variant} | {steps} | {seconds / steps:.2f} | {seconds:.0f} | {dice:.4f} |", flush=True)


def run(place: Workspace, dataset: str, variant: str, steps: int, count: int) -> tuple[int, float, float]:
    """Train one variant and judge it: steps, seconds of training, mean foreground Dice."""
    name = place.resolve(dataset)
    plan = changed(read_plan(place.plan(name)), variant)
    configuration = plan.configuration(CONFIGURATION)
    cases = open_dataset(place.raw(name)).cases
    training, validation = split(read_folds(place.folds(name)), 0, [case.name for case in cases])
    store = CaseStore.of(place.preprocessed(name, CONFIGURATION), plan, configuration)
    device = pick_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            plan, CONFIGURATION, "0", Path(folder) / "model",
            training=lambda recipe, seed: PatchSource(store, training, configuration, recipe.augmentation, seed),
            validation=None, device=device, target=Target(steps=steps), seed=plan.seed,
        )  # fmt: skip
        begun = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - begun
        models = [load_model(Path(folder) / "model")]
        predictor = Predictor(models, device)
        held_out = [case for case in cases if case.name in set(validation)][:count]
        outcome = predict_cases(predictor, held_out, Path(folder) / "out", Source.of(models, predictor))
        evaluation = evaluate_folder(outcome.files, {case.name: case.label for case in held_out if case.label}, plan.labels, surface=False)
    return steps, seconds, evaluation.foreground_mean()


def changed(plan: Plan, variant: str) -> Plan:
    """The plan with a variant's values in its fast recipe (or its configuration)."""
    content: dict[str, Any] = plan.model_dump(mode="json")
    configuration = content["configurations"][CONFIGURATION]
    configuration["training"]["fast_below_steps"] = 10**9
    recipe = configuration["training"]["recipes"]["fast"]
    for assignment in variant.split(";") if variant != "as-planned" else ():
        key, value = assignment.split("=")
        numbers = [float(part) if "." in part or "e" in part else int(part) for part in value.split(",") if part]
        if key == "mirror_axes":
            recipe["augmentation"][key] = configuration["inference"][key] = numbers
        elif key in configuration:
            configuration[key] = numbers if isinstance(configuration[key], list) else numbers[0]
        else:
            recipe[key] = numbers[0]
    return validate_plan(content, variant)


if __name__ == "__main__":
    main()

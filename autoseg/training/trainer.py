"""The trainer: carries out what the plan says for one configuration and one fold.

- One readable path: choose how to run, take up the checkpoint, step until the target, leave weights that the predictor can use.
- Everything random follows from the plan's seed and the step's number, so a run that was killed ends with the weights of one that was not.
- Which recipe, precision and memory format were chosen is written down before the first step and kept when the run is resumed.
- With averaged weights, it is the average that is validated and saved.
- What the losses of epochs decide is in `monitor.py`: lower learning rates, an early end, the best weights (`best.py`).
- A run that starts from another model has a checkpoint before its first step, and does not need the model from then on.
"""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.errors import AutosegError, Interrupted
from autoseg.files import sweep
from autoseg.inference import model_folder
from autoseg.inference.execution import Execution, candidates, inference
from autoseg.inference.model_folder import Model, weights_fingerprint
from autoseg.networks import build, start_encoder
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.plan import Plan, Recipe
from autoseg.progress import Progress, duration, silent
from autoseg.training import checkpoint
from autoseg.training.batches import Batch, PatchSource, stream
from autoseg.training.best import BestWeights
from autoseg.training.checkpoint import Counters
from autoseg.training.measure import fastest_step
from autoseg.training.monitor import take_note, why_stopped
from autoseg.training.objectives import objective_of
from autoseg.training.optimize import Stepper
from autoseg.training.pretrained import load_start, source_of, take_over
from autoseg.training.run import Run, has_ended, read_run, recipe_for, write_run
from autoseg.training.run_log import RunLog
from autoseg.training.schedule import Target, learning_rate

SMOOTHING = 0.9  # of the pseudo-Dice from epoch to epoch
CHECKPOINT_SHARE = 0.01  # of the time may go into writing checkpoints
CHECKPOINT_AT_LEAST = 300.0  # seconds between checkpoints at most
LONG = 24 * 3600.0  # seconds that a training on a CPU may take without a word of advice
VALIDATION = 1  # tells the seeds of validation batches from those of training
ROWS, SHORTEST_EPOCH = 20, 5  # of the log of a training by the clock


@dataclass(frozen=True)
class Outcome:
    """A finished training: optimizer steps and seconds over all sittings, and the run's decisions."""

    steps: int
    seconds: float
    run: Run


class Trainer:
    """One training.

    Parameters
    ----------
    plan, configuration_name : what to train
    fold : "0".."4" or "all"
    folder : of the model; may hold an unfinished run of the same plan, which is taken up
    training, validation : where batches come from, by recipe name; no validation source: nothing is measured along the way
    device : as `pick_device` gives it
    target : where to end; None: where the run that lies here ends, or else after the plan's epochs. A run that has ended can only be lengthened
    seed : of weights, batches and augmentation; a run that is taken up keeps its own
    pretrained : folder of a trained model to start from; a run that is taken up goes on from its checkpoint
    draw, notify : makes the picture from the log; is told decisions in words
    """

    def __init__(
        self,
        plan: Plan,
        configuration_name: str,
        fold: str,
        folder: Path,
        *,
        training: Callable[[Recipe, int], PatchSource],
        validation: PatchSource | None,
        device: str,
        target: Target | None,
        seed: int,
        pretrained: Path | None = None,
        draw: Callable[[Path, Path], None] | None = None,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._started = time.monotonic()
        self._folder, self._validation, self._device, self._draw, self._notify = folder, validation, device, draw, notify
        self._plan, self._configuration = plan, plan.configuration(configuration_name)
        self._rules = self._configuration.training
        earlier, source = read_run(folder), source_of(folder, pretrained)
        start = load_start(source, plan, configuration_name) if source else None
        seed = earlier.seed if earlier else seed

        torch.manual_seed(seed)
        self._channels = plan.input_channels(configuration_name)
        self._network = build(self._configuration, in_channels=self._channels, num_classes=plan.network_outputs(configuration_name))
        self._objective = objective_of(plan, configuration_name)
        set_deep_supervision(self._network, self._rules.deep_supervision)
        for line in take_over(start, self._network, plan, configuration_name) if start else ():
            notify(line)
        anew = start is None and checkpoint.read_counters(folder) is None
        said = start_encoder(self._network, self._configuration, self._channels) if anew else None
        if said:
            notify(said)
        self._run = self._decide(target, seed, earlier, start)
        model_folder.start_model_folder(folder, plan, configuration_name, fold, self._run.recipe)
        self._recipe = self._rules.recipes[self._run.recipe]  # type: ignore[index]
        self._execution = Execution(device, self._run.precision, self._run.channels_last)
        self._network = self._execution.place(self._network, self._configuration.dimensions)
        self._training = training(self._recipe, seed)
        self._stepper = Stepper(self._network, self._recipe, self._execution)
        sweep(folder)
        self._counters = checkpoint.load(folder, self._network, self._stepper.average, self._stepper.optimizer) or Counters()
        self._best = BestWeights(folder, self._counters.best_weights)
        self._stepper.loss_scale = self._counters.loss_scale
        self._earlier = self._counters.elapsed
        self._scores: list[float] = []  # of the last epoch
        self._saved_at, self._save_cost = time.monotonic(), 0.0
        if start or said:  # what a run began with need not be there when it is taken up
            self._save()

    def train(self, *, progress: Progress = silent, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Step until the target is reached or the recipe stops, then leave weights that the predictor can use.

        Raises
        ------
        Interrupted
            `should_stop` answered yes; the state was saved and the same call goes on from there
        AutosegError
            the loss is no number any more
        """
        counters, target = self._counters, self._run.target
        with (
            closing(RunLog(self._folder, self._objective.columns, up_to_step=counters.step, draw=self._draw)) as log,
            closing(stream(self._training, counters.step, self._device)) as batches,
        ):
            while not counters.stopped and not target.reached(counters.step, self._elapsed(), counters.step_seconds):
                begun = time.monotonic()
                self._step(next(batches))
                counters.step_seconds = time.monotonic() - begun
                self._report(progress)
                if counters.epoch_steps == self._run.epoch_steps:
                    self._end_epoch(log, progress)
                    counters.epoch_loss, counters.epoch_steps, counters.epoch_start = 0.0, 0, counters.elapsed
                if should_stop():
                    self._save()
                    raise Interrupted(f"Stopped after step {counters.step}; everything is saved. The same command goes on from there.")
                self._save_when_due()
            if counters.epoch_steps and counters.judged_step < counters.step:
                self._end_epoch(log, progress, whole=False)  # what there is of it: a lengthened run goes on in the same epoch
            self._save()
        self._leave_weights()
        return Outcome(counters.step, counters.elapsed, self._run)

    def _decide(self, target: Target | None, seed: int, earlier: Run | None, start: Model | None) -> Run:
        """What an earlier sitting decided, or new decisions, made by timing a few steps."""
        if earlier:
            done = target is not None and has_ended(self._folder, earlier.target) and has_ended(self._folder, target)
            if target is None or target == earlier.target or done:  # what has ended cannot be shortened
                return earlier
            run = replace(earlier, steps=target.steps, seconds=target.seconds)
            self._notify(f"The run that lies here was to end after {earlier.target.describe()}; now it ends after {target.describe()}.")
        else:
            target = target or Target(steps=self._rules.epochs * self._rules.iterations_per_epoch)
            execution, seconds = self._measure()
            steps = target.steps or max(1, round((target.seconds or 0.0) / seconds))
            recipe, reason = recipe_for(self._rules, steps)
            self._notify(
                f"One step takes about {seconds:.2f} s ({execution.describe()}; {self._size()}): about {steps:,} steps in"
                f" {duration(steps * seconds)}. Recipe '{recipe}' ({reason})."
            )
            if steps * seconds > LONG and execution.device == "cpu":
                self._notify("That is long for a CPU: --budget 2h trains for two hours, and 'autoseg plan --preset cpu' makes a plan of its size.")
            epoch = self._rules.iterations_per_epoch
            if target.steps is None:  # a short budget's log should have rows enough to draw
                epoch = min(epoch, max(SHORTEST_EPOCH, steps // ROWS))
            run = Run(recipe, target.steps, target.seconds, seed, execution.precision, execution.channels_last, epoch)
            if start:
                run = replace(run, pretrained=str(start.folder), pretrained_weights=weights_fingerprint(start))
        write_run(run, self._folder)
        return run

    def _measure(self) -> tuple[Execution, float]:
        patch, batch = self._configuration.patch_size, self._configuration.batch_size
        images = torch.zeros(batch, self._channels, *patch)
        zeros = Batch(images, torch.zeros(batch, *patch, dtype=torch.long), torch.zeros(batch, dtype=torch.long))
        options = candidates(self._device, self._rules.precision)
        return fastest_step(self._network, self._configuration.dimensions, options, zeros, self._judge)

    def _size(self) -> str:
        """How large the network, the patch and the batch are, in words."""
        millions = sum(parameter.numel() for parameter in self._network.parameters()) / 1e6
        patch = " x ".join(map(str, self._configuration.patch_size))
        return f"{millions:.3g} million parameters, patch {patch}, batch {self._configuration.batch_size}"

    def _judge(self, network: nn.Module, batch: Batch, execution: Execution) -> tuple[Tensor, Any]:
        """The plan's loss of a batch, and the network's output at full resolution."""

        def forward(images: Tensor) -> object:
            with execution.autocast():
                output: object = network(execution.arrange(images))
            return output

        return self._objective.judge(forward, batch)

    def _step(self, batch: Batch) -> None:
        counters = self._counters
        rate = learning_rate(self._recipe, self._run.target.progress(counters.step, self._elapsed()), counters.lowered)
        self._seed(counters.step)
        loss = self._stepper.step(lambda: self._judge(self._network, batch, self._execution)[0], rate, counters.step)
        counters.loss_scale = self._stepper.loss_scale
        if not math.isfinite(loss):
            raise AutosegError(
                f"The loss is not a number after step {counters.step}. The last good state is kept; use a smaller learning_rate in the plan's"
                f" recipe '{self._run.recipe}', or precision float32."
            )
        counters.step += 1
        counters.epoch_steps += 1
        counters.epoch_loss += loss

    def _seed(self, *numbers: int) -> None:
        """Let what is drawn on the device, by dropout or as noise, follow from the run's seed and a batch's number."""
        torch.manual_seed(int(np.random.SeedSequence([self._run.seed, *numbers]).generate_state(1)[0]))

    def _end_epoch(self, log: RunLog, progress: Progress, *, whole: bool = True) -> None:
        """Validate and log an epoch, or the part of one that a run ends with, and draw the conclusions."""
        loss = self._log_epoch(log)
        if take_note(self._counters, self._recipe, loss, whole=whole) and self._recipe.keep == "best":
            self._best.hold(self._stepper.weights())
        if self._counters.stopped:
            self._report(progress)
            self._notify(f"The training {why_stopped(self._counters, self._run, validated=self._validation is not None)}.")

    def _log_epoch(self, log: RunLog) -> float:
        """Write the log's row; the loss by which the epoch is judged."""
        counters = self._counters
        loss, self._scores = self._validate()
        mean = self._objective.overall(self._scores)
        if mean == mean:
            share = max(1 - SMOOTHING, self._run.epoch_steps / counters.step)  # at first the plain mean: a short run must not look worse than it is
            counters.pseudo_dice = mean if counters.pseudo_dice is None else counters.pseudo_dice + min(share, 1.0) * (mean - counters.pseudo_dice)
        counters.elapsed = self._elapsed()
        row = {
            "epoch": float(-(-counters.step // self._run.epoch_steps)),
            "step": float(counters.step),
            "elapsed_s": round(counters.elapsed, 2),
            "epoch_s": round(counters.elapsed - counters.epoch_start, 2),
            "learning_rate": learning_rate(self._recipe, self._run.target.progress(counters.step, counters.elapsed), counters.lowered),
            "train_loss": counters.epoch_loss / max(1, counters.epoch_steps),
            "validation_loss": loss,
            self._objective.leading: mean,
        }
        log.append(row | dict(zip(self._objective.columns, self._scores, strict=False)))
        return row["train_loss"] if self._validation is None else loss

    def _validate(self) -> tuple[float, list[float]]:
        """Loss and scores on random validation patches, with the weights that would be saved."""
        if self._validation is None:
            return float("nan"), []
        total, tallies = 0.0, list[Tensor]()
        epoch = self._counters.step // self._run.epoch_steps
        iterations = max(1, round(self._rules.validation_iterations * self._run.epoch_steps / self._rules.iterations_per_epoch))
        with self._stepper.averaged(), inference(self._network):
            for index in range(iterations):
                number = epoch * iterations + index
                self._seed(number, VALIDATION)
                batch = self._validation.assemble(self._validation.load(number), self._device)
                judged, output = self._judge(self._network, batch, self._execution)
                total += float(judged)
                tallies.append(self._objective.tally(output, batch))
        return total / iterations, self._objective.scores(torch.stack(tallies).sum(0))

    def _report(self, progress: Progress) -> None:
        counters = self._counters
        done = 1.0 if counters.stopped else self._run.target.progress(counters.step, self._elapsed())
        parts = [f"step {counters.step}", f"loss {counters.epoch_loss / max(1, counters.epoch_steps):.3f}"]
        parts += [said] if (said := self._objective.describe(counters.pseudo_dice, self._scores)) else []
        progress("train", round(1000 * done), 1000, ", ".join(parts))

    def _elapsed(self) -> float:
        return self._earlier + time.monotonic() - self._started

    def _save_when_due(self) -> None:
        since = time.monotonic() - self._saved_at
        if since > CHECKPOINT_AT_LEAST or (self._counters.epoch_steps == 0 and since * CHECKPOINT_SHARE > self._save_cost):
            self._save()

    def _save(self) -> None:
        begun = time.monotonic()
        self._counters.elapsed = self._elapsed()
        self._counters.best_weights = self._best.write()
        checkpoint.save(self._folder, self._network, self._stepper.average, self._stepper.optimizer, self._counters)
        self._best.tidy()
        self._saved_at = time.monotonic()
        self._save_cost = self._saved_at - begun

    def _leave_weights(self) -> None:
        """The weights that prediction uses."""
        if self._recipe.keep == "best":
            if self._best.become_final():
                return
            self._notify("No epoch had a loss that is a number, so the last weights are kept.")
        model_folder.save_weights(self._folder, self._stepper.weights())

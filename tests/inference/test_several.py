"""Several configurations: the mean of what each says on its own grid, in memory that does not grow with how many there are."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.imaging.image import Geometry, Image
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.resample import Planes, resample
from autoseg.imaging.write import write_image
from autoseg.inference.cascade import Cascade, load_trained
from autoseg.inference.decide import Prediction
from autoseg.inference.model_folder import Model, save_weights, start_model_folder
from autoseg.inference.predictor import Predictor, Stage
from autoseg.inference.run import RECORD, predict_cases, record_of
from autoseg.inference.several import Several, place_together
from autoseg.inference.sliding_window import predict_logits
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import Plan, validate_plan, write_plan
from autoseg.preprocessing.placement import logits_to_scan_shape

Plans, Models = Callable[..., Plan], Callable[..., Model]
REGIONS: dict[str, Any] = {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4]}
FAST: dict[str, Any] = {"inference": {"step": 1.0, "mirror_axes": []}}
VALUES = np.array([0, 1, 2, 4])


def with_configurations(plan: Plan, **more: dict[str, Any]) -> Plan:
    """The plan with further configurations, each like "small" but for what is named."""
    content = plan.model_dump(mode="json", exclude_none=True)
    for name, changes in more.items():
        content["configurations"][name] = content["configurations"]["small"] | changes
    return validate_plan(content, "the plan of several configurations")


def noise_scan(shape: tuple[int, int, int] = (20, 18, 22), spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 1) -> Image:
    """Noise with an empty margin."""
    array = np.zeros((2, *shape), np.float32)
    array[:, 2:-1, 1:-3, 3:] = np.random.default_rng(seed).normal(100, 20, array[:, 2:-1, 1:-3, 3:].shape)
    return Image(array, Geometry.of(shape, spacing))


def soft_of(found: Prediction) -> np.ndarray:
    assert found.probabilities is not None
    return np.stack(list(found.probabilities))


def slow_logits(models: Sequence[Model], image: Image) -> Tensor:
    """The mean of the folds' logits, whole, on the cropped and transposed scan."""
    predictor, configuration = Predictor(list(models), "cpu"), models[0].configuration
    ready = predictor.prepare(image)
    size = (1, *configuration.patch_size) if configuration.dimensions == 2 else configuration.patch_size
    with torch.inference_mode():
        each = [
            predict_logits(model.network, torch.from_numpy(ready.image), size, model.plan.output_channels, predictor.execution, step=1.0)
            for model in models
        ]
        shape, nearest = logits_to_scan_shape(ready.placement, configuration)
        return resample(torch.stack(each).mean(0), shape, order=configuration.resampling.logits_order, nearest_axis=nearest)


GRIDS: list[tuple[dict[str, Any], dict[str, Any], tuple[float, float, float]]] = [
    ({}, {}, (1.0, 1.0, 1.0)),
    ({"transpose": (2, 0, 1)}, {"spacing": [1.4, 0.8, 1.1]}, (1.0, 1.0, 1.0)),
    ({"spacing": (4.0, 1.0, 1.0)}, {"spacing": [1.5, 1.5, 1.5]}, (4.0, 1.0, 1.0)),  # one keeps the coarse axis, one interpolates from nearest
    ({"transpose": (1, 0, 2), "resampling": {"logits_order": 3}}, {"spacing": [2.0, 2.0, 2.0]}, (1.0, 4.0, 1.0)),
]


@pytest.mark.parametrize("kind", [{}, REGIONS])
@pytest.mark.parametrize(("settings", "other", "spacing"), GRIDS)
def test_whole_arrays_give_the_same(
    settings: dict[str, Any], other: dict[str, Any], spacing: tuple[float, float, float], kind: dict[str, Any], small_plan: Plans,
    random_model: Models, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Planes, "thickness", lambda planes, together=1: 4)
    plan = with_configurations(small_plan(**FAST | kind | settings), other=other)
    members = [[random_model(plan, 0), random_model(plan, 1)], [random_model(plan, 2, name="other")]]
    several = Several([Predictor(models, "cpu") for models in members])
    image = noise_scan((14, 15, 22), spacing)
    found = several.predict(several.prepare(image), probabilities=True)
    whole = [slow_logits(models, image) for models in members]
    soft = torch.stack([x.sigmoid() if kind else x.softmax(0) for x in whole]).mean(0).numpy()
    classes = np.select([soft[2] > 0.5, soft[1] > 0.5, soft[0] > 0.5], [3, 1, 2], 0) if kind else soft.argmax(0)
    back, box = np.argsort(plan.transpose_forward), (slice(2, -1), slice(1, -3), slice(3, None))
    expected = np.zeros(image.geometry.shape, int)
    expected[box] = VALUES[classes].transpose(back)
    sure = np.ones(expected.shape, bool)
    ranked = np.sort(soft, 0)
    sure[box] = ((np.abs(soft - 0.5) > 1e-6).all(0) if kind else ranked[-1] - ranked[-2] > 1e-6).transpose(back)
    assert sure.mean() > 0.99 and len(np.unique(expected)) > 2
    np.testing.assert_array_equal(found.labels.array[sure], expected[sure])
    read = soft_of(found)
    off = np.abs(read[(slice(None), *box)] - soft.transpose(0, *(1 + axis for axis in back)))
    assert off.max() <= 1.51 / 256 and (off > 0.501 / 256).mean() < 0.05
    outside = np.ones(expected.shape, bool)
    outside[box] = False
    assert (read[0][outside] == (0 if kind else 1)).all() and (read[1:][:, outside] == 0).all()
    alone = [stage.predict(stage.prepare(image)).labels.array for stage in (Predictor(models, "cpu") for models in members)]
    assert all(not np.array_equal(one, found.labels.array) for one in alone), "a mean that is one of them tests nothing"


def test_one_configuration_twice_is_that_configuration(small_plan: Plans, random_model: Models) -> None:
    plan = small_plan(**FAST)
    one = Predictor([random_model(plan, seed) for seed in range(2)], "cpu")
    image = noise_scan()
    alone, twice = one.predict(one.prepare(image), probabilities=True), None
    several = Several([one, one])
    twice = several.predict(several.prepare(image), probabilities=True, uncertainty=True)
    np.testing.assert_array_equal(alone.labels.array, twice.labels.array)
    np.testing.assert_array_equal(soft_of(alone), soft_of(twice))
    assert several.members == 4 and twice.uncertainty is not None and twice.uncertainty.agreement is not None
    assert 0 < twice.uncertainty.agreement < 1


def test_slices_and_volumes_together(small_plan: Plans, random_model: Models) -> None:
    """A 2D configuration keeps the scan's slices; its mean with a 3D one is still one segmentation."""
    plan = with_configurations(small_plan(**FAST))
    flat = small_plan(patch=(16, 16), spacing=(1.2, 0.9), **FAST)
    content = plan.model_dump(mode="json", exclude_none=True)
    content["configurations"]["flat"] = flat.model_dump(mode="json", exclude_none=True)["configurations"]["small"]
    plan = validate_plan(content, "2D and 3D")
    members = [[random_model(plan, 0)], [random_model(plan, 1, name="flat")]]
    several = Several([Predictor(models, "cpu") for models in members])
    image = noise_scan((14, 15, 22))
    found = several.predict(several.prepare(image), probabilities=True)
    soft = torch.stack([slow_logits(models, image).softmax(0) for models in members]).mean(0).numpy()
    np.testing.assert_array_equal(found.labels.array[2:-1, 1:-3, 3:], VALUES[soft.argmax(0)])
    assert several.expected_seconds([(14, 15, 22)]) > 0


def test_a_cascade_as_a_member(small_plan: Plans, random_model: Models) -> None:
    plan = with_configurations(small_plan(**FAST), second={"previous_stage": "small", "spacing": [1.3, 0.9, 1.2]})
    before, after = [random_model(plan, 0)], [random_model(plan, 1, name="second"), random_model(plan, 2, name="second")]
    cascade = Cascade(Predictor(before, "cpu"), Predictor(after, "cpu"))
    one = Predictor([random_model(plan, 3)], "cpu")
    image = noise_scan()
    whole = []
    for stage in (cascade, one):
        made = stage.logits(stage.prepare(image)).mean
        whole.append(made.at(slice(0, made.shape[0])))
    soft = torch.stack([x.softmax(0) for x in whole]).mean(0).numpy()
    for order in (1, -1):
        stages: list[Stage[Any]] = [cascade, one][::order]
        several = Several(stages)
        assert several.members == 3
        found = several.predict(several.prepare(image), uncertainty=True)
        np.testing.assert_array_equal(found.labels.array[2:-1, 1:-3, 3:], VALUES[soft.argmax(0)])
        assert found.uncertainty is not None and found.uncertainty.disagreement is not None
        assert {0, 1, 2} <= set(np.rint(3 * found.uncertainty.disagreement).ravel().tolist())
    own = cascade.predict(cascade.prepare(image)).labels.array[2:-1, 1:-3, 3:]
    np.testing.assert_array_equal(VALUES[whole[0].argmax(0)], own)


def test_progress_runs_over_all_windows(small_plan: Plans, random_model: Models) -> None:
    plan = with_configurations(small_plan(**FAST), other={"spacing": [0.7, 0.7, 0.7]}, second={"previous_stage": "small"})
    models = [random_model(plan, seed) for seed in range(2)]
    cascade = Cascade(Predictor(models, "cpu"), Predictor([random_model(plan, 5, name="second")], "cpu"))
    several = Several([Predictor(models, "cpu"), Predictor([random_model(plan, 3, name="other")], "cpu"), cascade])
    told: list[tuple[int, int]] = []
    several.predict(several.prepare(noise_scan((24, 25, 26))), progress=lambda done, total: told.append((done, total)))
    assert len(told) > 20
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"values": (0, 1, 2, 3)}, "were trained for other labels"),
        (REGIONS, "learned classes and regions"),
        ({"channels": ("t1", "flair")}, r"see other channels \(t1, t2; t1, flair\)"),
        ({"transpose": (1, 0, 2)}, "take the axes of a scan in another order"),
    ],
)
def test_plans_that_differ_are_refused_with_both_names(other: dict[str, Any], message: str, small_plan: Plans, random_model: Models) -> None:
    ours = Predictor([random_model(small_plan(), folder=Path("a/fold_0"))], "cpu")
    theirs = Predictor([random_model(small_plan(**other), folder=Path("b/fold_1"))], "cpu")
    with pytest.raises(AutosegError, match=rf"'small' in a/fold_0 and 'small' in b/fold_1 {message}"):
        Several([ours, theirs])
    with pytest.raises(AutosegError, match="at least two"):
        Several([ours])


@pytest.fixture
def models(tmp_path: Path, small_plan: Plans, random_model: Models) -> Path:
    """One fold each of "small" and "other"."""
    plan = with_configurations(small_plan(**FAST), other={"spacing": [1.2, 1.3, 1.1]})
    for seed, name in enumerate(("small", "other")):
        folder = tmp_path / "models" / name / "fold_0"
        start_model_folder(folder, plan, name, "0", "default")
        save_weights(folder, weights_of(random_model(plan, seed, name=name).network))
    return tmp_path / "models"


def a_case(folder: Path, name: str, seed: int) -> Case:
    image = noise_scan(seed=seed)
    for channel in range(2):
        write_image(Image(image.array[channel : channel + 1], image.geometry), folder / f"{name}_{channel:04d}.nii.gz")
    return Case(name, tuple(folder / f"{name}_{channel:04d}.nii.gz" for channel in range(2)), None, name)


def test_the_record_names_all_members(models: Path, tmp_path: Path) -> None:
    ensembles = [load_trained([models / name / "fold_0"]) for name in ("small", "other")]
    segmenter, sources = place_together(ensembles, "cpu", mirror=False)
    assert isinstance(segmenter, Several) and [source.configuration for source in sources] == ["small", "other"]
    case = a_case(tmp_path / "in", "a", 1)
    done = predict_cases(segmenter, [case], tmp_path / "out", sources, probabilities=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "a.npz", RECORD]
    record = read_json(tmp_path / "out" / RECORD)
    assert record == {"dataset": "Dataset001_Small", "members": [record_of(source) for source in sources]}
    expected = segmenter.predict(segmenter.prepare(read_image(case.channels)), probabilities=True)
    np.testing.assert_array_equal(read_labels(done.files["a"]).array, expected.labels.array)
    with np.load(tmp_path / "out" / "a.npz") as archive:
        np.testing.assert_array_equal(archive["probabilities"], soft_of(expected))
    assert predict_cases(segmenter, [case], tmp_path / "out", sources).skipped == ("a",)
    with pytest.raises(AutosegError, match="another model or with other settings"):
        predict_cases(segmenter, [case], tmp_path / "out", sources[:1])

    alone, its = place_together(ensembles[:1], "cpu", mirror=False)
    assert isinstance(alone, Predictor) and its == sources[:1] and record_of(its) == record_of(its[0])


KILLED = """
import os, signal, sys
from pathlib import Path
from autoseg.data.dataset import Case
from autoseg.inference.cascade import load_trained
from autoseg.inference.run import predict_cases
from autoseg.inference.several import place_together

root = Path(sys.argv[1])
segmenter, sources = place_together([load_trained([root / "models" / name / "fold_0"]) for name in ("small", "other")], "cpu")

def die(stage, done, total, note=""):
    if done >= 1900:  # the second member of the second case is at work, logits of the first wait
        os.kill(os.getpid(), signal.SIGKILL)

cases = [Case(name, tuple(root / "in" / f"{name}_{channel:04d}.nii.gz" for channel in range(2)), None, name) for name in "abc"]
predict_cases(segmenter, cases, root / "out", sources, probabilities=True, uncertainty=True, progress=die)
"""


def test_a_killed_run_leaves_nothing_behind_and_is_taken_up(models: Path, tmp_path: Path) -> None:
    cases = [a_case(tmp_path / "in", name, seed) for seed, name in enumerate("abc")]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    segmenter, sources = place_together([load_trained([models / name / "fold_0"]) for name in ("small", "other")], "cpu")
    outcome = predict_cases(segmenter, cases, tmp_path / "out", sources, probabilities=True, uncertainty=True)
    assert not {"b", "c"} & set(outcome.skipped)
    names = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and not path.name.startswith(".autoseg-")]
    assert len(names) == 2 + 4 * 3
    assert [path for path in (tmp_path / "out").rglob(".*") if not path.name.startswith(".autoseg-")] == []
    for case in cases:
        expected = segmenter.predict(segmenter.prepare(read_image(case.channels)))
        np.testing.assert_array_equal(read_labels(outcome.files[case.name]).array, expected.labels.array)


def test_errors_leave_nothing_behind(models: Path, tmp_path: Path, random_model: Models) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_full((1, 4, *x.shape[2:]), float("nan"))

    ensembles = [load_trained([models / name / "fold_0"]) for name in ("small", "other")]
    plan = ensembles[0].plan
    placed = [ensemble.place("cpu") for ensemble in ensembles]
    broken = Predictor([Model(Path("fold_0"), plan, "other", Broken())], "cpu")
    with pytest.raises(AutosegError, match=r"Case a: The network's output is not a number"):
        predict_cases(Several([placed[0][0], broken]), [a_case(tmp_path / "in", "a", 1)], tmp_path / "out", [source for _, source in placed])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [RECORD]


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
import torch
from torch import nn
from autoseg.imaging.image import Geometry, Image
from autoseg.inference.model_folder import Model
from autoseg.inference.predictor import Predictor
from autoseg.inference.several import Several
from autoseg.planning.plan import read_plan

class Spreads(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
    def forward(self, x):
        return torch.cat([x * (1 + (self.k + c) % 3) for c in range(8)], 1)

plan = read_plan(Path(sys.argv[1]))
several = Several([Predictor([Model(Path("fold_0"), plan, "small", Spreads(k))], "cpu") for k in range(int(sys.argv[2]))])
image = Image(np.random.default_rng(0).normal(100, 20, (1, 80, 80, 80)).astype(np.float32), Geometry.of((80, 80, 80)))
several.predict(several.prepare(image), probabilities=True, uncertainty=True, folder=Path(sys.argv[1]).parent)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units elsewhere")
def test_memory_does_not_grow_with_the_members(small_plan: Plans, tmp_path: Path) -> None:
    """Logits of a member are 16 MiB, its ready scan 2 MiB: those of three members more would show."""
    write_plan(small_plan(patch=(80, 80, 80), channels=("t1",), values=range(8), **FAST), tmp_path / "plan.json")
    peaks = {}
    for members in (2, 5):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "plan.json"), str(members)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "65536"}
        peaks[members] = int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout) / 1024
    assert peaks[5] - peaks[2] < 5, peaks


@pytest.mark.parametrize("margin", [True, False])
def test_whole_and_cropped_scans_have_a_mean_only_where_nothing_is_cropped(margin: bool, small_plan: Plans, random_model: Models) -> None:
    plan = with_configurations(small_plan(**FAST), sized={"resampling": {"resize": [16, 16, 16]}}, too={"resampling": {"resize": [20, 16, 24]}})
    predictors = {name: Predictor([random_model(plan, seed, name=name)], "cpu") for seed, name in enumerate(plan.configurations)}
    image = noise_scan()
    image = image if margin else Image(image.array + 1, image.geometry)
    both = Several([predictors["sized"], predictors["too"]])  # neither crops
    assert both.predict(both.prepare(image)).labels.array.shape == image.geometry.shape
    assert both.expected_seconds([(16, 16, 16)]) > 0
    mixed = Several([predictors["small"], predictors["sized"]])
    ready = mixed.prepare(image)
    if margin:
        with pytest.raises(AutosegError, match=r"'small' in .* and 'sized' in .* cut the scan differently \(only one resizes .*autoseg ensemble"):
            mixed.predict(ready)
    else:
        assert mixed.predict(ready).labels.array.shape == image.geometry.shape

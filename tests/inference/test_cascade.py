"""Two stages: the second sees what the first said, on its own grid; both stages' weights are on record."""

import json
from collections.abc import Callable
from dataclasses import replace
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
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_image
from autoseg.inference.cascade import Cascade, at_spacing, load_trained, trained_on_others
from autoseg.inference.model_folder import Model, save_weights, start_model_folder, weights_fingerprint
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import RECORD, Source, predict_cases, record_of
from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import Plan, validate_plan
from autoseg.preprocessing.previous import bring_to_grid

Plans, Models, Scans = Callable[..., Plan], Callable[..., Model], Callable[..., Any]
KNOWING: dict[str, Any] = {
    "channels": ("t1",), "scheme": "none", "resampling": {"image_order": 0, "label_order": 0}, "inference": {"step": 1.0, "mirror_axes": []},
}  # fmt: skip


def with_second(plan: Plan, **changes: Any) -> Plan:
    """The plan with a configuration "second" that builds on "small"."""
    content = plan.model_dump(mode="json", exclude_none=True)
    content["configurations"]["second"] = content["configurations"]["small"] | {"previous_stage": "small"} | changes
    return validate_plan(content, "the plan of two stages")


class Repeats(nn.Module):
    """Says what the previous stage said: its channels follow the image's one."""

    def forward(self, x: Tensor) -> Tensor:
        said = x[:, 1:]
        return torch.cat([1 - said.sum(1, keepdim=True), said], 1) * 20


class Corrects(nn.Module):
    """Class 3 where the image is bright and the previous stage said class 1; else what it said."""

    def forward(self, x: Tensor) -> Tensor:
        one = x[:, 1:2] * (x[:, :1] > 17)
        return torch.cat([1 - x[:, 1:].sum(1, keepdim=True), x[:, 1:2] - one, x[:, 2:3], x[:, 3:4] + one], 1) * 20


def second(plan: Plan, network: nn.Module) -> Predictor:
    return Predictor([Model(Path("fold_0"), plan, "second", network.eval())], "cpu")


@pytest.mark.parametrize(
    ("low", "high", "transpose"),
    [
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0, 1, 2)),
        ((1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0, 1, 2)),
        ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (2, 0, 1)),
        ((1.0, 0.5, 1.0), (0.5, 1.0, 0.5), (1, 2, 0)),
    ],
)
def test_the_second_stage_sees_what_the_first_said(
    low: tuple[float, ...], high: tuple[float, ...], transpose: tuple[int, ...], small_plan: Plans, knowing_model: Models, telling_scan: Scans
) -> None:
    """A first stage that knows and a second that repeats it give the reference, whatever grids they work on."""
    plan = with_second(small_plan(spacing=low, transpose=transpose, **KNOWING), spacing=high)
    cascade = Cascade(Predictor([knowing_model(plan)], "cpu"), second(plan, Repeats()))
    image, reference = telling_scan(Geometry.of((17, 19, 18)))
    result = cascade.predict(cascade.prepare(image), probabilities=True)
    np.testing.assert_array_equal(result.labels.array, reference.array)
    assert result.labels.geometry is image.geometry
    assert result.probabilities is not None and np.stack(list(result.probabilities)).shape == (4, 17, 19, 18)


def test_the_second_stage_sees_the_image_first_and_may_disagree(small_plan: Plans, telling_scan: Scans) -> None:
    class Ones(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([5 - x, x - 5, 0 * x - 99, 0 * x - 99], 1)  # class 1 wherever there is a body

    plan = with_second(small_plan(**KNOWING))
    cascade = Cascade(Predictor([Model(Path("fold_0"), plan, "small", Ones())], "cpu"), second(plan, Corrects()))
    image, _ = telling_scan(Geometry.of((17, 19, 18)))
    found = cascade.predict(cascade.prepare(image)).labels.array
    np.testing.assert_array_equal(found, np.select([image.array[0] > 17, image.array[0] > 5], [4, 1], 0))


def test_it_is_the_label_map_on_the_scans_grid_that_is_handed_on(small_plan: Plans, random_model: Models, telling_scan: Scans) -> None:
    """By hand: predict with the first, bring its labels to the second's grid, predict with the second."""
    plan = with_second(small_plan(spacing=(1.7, 1.6, 1.5), channels=("t1",), inference={"step": 1.0, "mirror_axes": []}), spacing=[0.9, 1.0, 1.1])
    first, after = Predictor([random_model(plan)], "cpu"), Predictor([random_second(plan)], "cpu")
    image, _ = telling_scan(Geometry.of((20, 22, 21)))
    cascade = Cascade(first, after)
    labels = first.predict(first.prepare(image)).labels
    assert len(np.unique(labels.array)) > 1
    ready = after.prepare(image)
    z, y, x = ready.image.shape[1:]
    by_hand = after.predict(replace(ready, previous=bring_to_grid(labels, ready.placement, (z, y, x), plan, after.configuration)))
    found = cascade.predict(cascade.prepare(image))
    np.testing.assert_array_equal(found.labels.array, by_hand.labels.array)
    other = after.predict(replace(ready, previous=np.zeros((z, y, x), np.int16)))
    assert not np.array_equal(found.labels.array, other.labels.array), "the second stage does not look at the first"


def random_second(plan: Plan, seed: int = 1) -> Model:
    torch.manual_seed(seed)
    network = build(plan.configuration("second"), in_channels=plan.input_channels("second"), num_classes=4)
    set_deep_supervision(network, False)
    return Model(Path("fold_0"), plan, "second", network.eval())


def test_progress_runs_over_both_stages(small_plan: Plans, random_model: Models, telling_scan: Scans) -> None:
    plan = with_second(small_plan(spacing=(2.0, 2.0, 2.0), channels=("t1",), inference={"step": 1.0, "mirror_axes": []}), spacing=[1.0] * 3)
    cascade = Cascade(Predictor([random_model(plan, seed) for seed in range(2)], "cpu"), Predictor([random_second(plan)], "cpu"))
    image, _ = telling_scan(Geometry.of((30, 31, 40)))
    told: list[tuple[int, int]] = []
    cascade.predict(cascade.prepare(image), progress=lambda done, total: told.append((done, total)))
    assert len(told) > 10
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]


def test_expected_seconds_are_those_of_both_stages(small_plan: Plans, knowing_model: Models) -> None:
    plan = with_second(small_plan(spacing=(2.0, 2.0, 4.0), **KNOWING), spacing=[1.0, 1.0, 1.0])
    asked: list[list[tuple[int, int, int]]] = []

    class Told(Predictor):
        def expected_seconds(self, shapes: Any) -> float:
            asked.append(list(shapes))
            return float(len(asked))

    cascade = Cascade(Told([knowing_model(plan)], "cpu"), Told([Model(Path("fold_0"), plan, "second", Repeats())], "cpu"))
    assert cascade.expected_seconds(iter([(40, 31, 1), (8, 8, 8)])) == 3.0
    assert asked == [[(20, 16, 1), (4, 4, 2)], [(40, 31, 1), (8, 8, 8)]]


def test_a_second_stage_alone_says_what_it_lacks(small_plan: Plans, telling_scan: Scans) -> None:
    predictor = second(with_second(small_plan(**KNOWING)), Repeats())
    image, _ = telling_scan(Geometry.of((17, 19, 18)))
    with pytest.raises(AutosegError, match="'second' also sees the segmentation of 'small'"):
        predictor.predict(predictor.prepare(image))


@pytest.mark.parametrize("other", [{"values": (0, 1, 2, 3)}, {"channels": ("flair",)}])
def test_stages_for_other_data_are_refused(other: dict[str, Any], small_plan: Plans, knowing_model: Models) -> None:
    own = second(with_second(small_plan(**KNOWING)), Repeats())
    with pytest.raises(AutosegError, match="other labels or channels"):
        Cascade(Predictor([knowing_model(small_plan(**KNOWING | other))], "cpu"), own)


@pytest.fixture
def models(tmp_path: Path, small_plan: Plans, random_model: Models) -> Path:
    """Two folds of "small", and fold 1 of "second"."""
    plan = with_second(small_plan(channels=("t1",), inference={"step": 1.0, "mirror_axes": []}))
    for name, fold, model in (("small", 0, random_model(plan, 3)), ("small", 1, random_model(plan, 4)), ("second", 1, random_second(plan))):
        folder = tmp_path / "models" / name / f"fold_{fold}"
        start_model_folder(folder, plan, name, str(fold), "default")
        save_weights(folder, weights_of(model.network))
    return tmp_path / "models"


def test_both_stages_are_loaded_and_named(models: Path, telling_scan: Scans, tmp_path: Path) -> None:
    ensemble = load_trained([models / "second" / "fold_1"])
    assert (ensemble.configuration_name, [model.folder.name for model in ensemble.previous]) == ("second", ["fold_0", "fold_1"])
    cascade, source = ensemble.place("cpu", step=0.9, mirror=False)
    assert isinstance(cascade, Cascade) and (source.step, source.mirror) == (0.9, False)
    assert source.previous == Source.of(ensemble.previous, Predictor(ensemble.previous, "cpu", step=0.9, mirror=False))
    image, _ = telling_scan(Geometry.of((18, 18, 18)))
    write_image(image, tmp_path / "a.nii.gz")
    case = Case("a", (tmp_path / "a.nii.gz",), None, "a")
    done = predict_cases(cascade, [case], tmp_path / "out", source)
    expected = cascade.predict(cascade.prepare(Image(image.array, image.geometry)))
    np.testing.assert_array_equal(read_labels(done.files["a"]).array, expected.labels.array)
    record = read_json(tmp_path / "out" / RECORD)
    assert record == record_of(source)
    assert record["weights"] == [weights_fingerprint(ensemble.models[0])]
    assert (record["previous"]["configuration"], record["previous"]["folds"]) == ("small", ["0", "1"])
    assert record["previous"]["weights"] == [weights_fingerprint(model) for model in ensemble.previous]

    alone, other = load_trained([models / "second" / "fold_1"], previous_fold="1").place("cpu", step=0.9, mirror=False)
    assert other.previous is not None and other.previous.folds == ("1",)
    with pytest.raises(AutosegError, match="another model or with other settings"):
        predict_cases(alone, [case], tmp_path / "out", other)


def test_a_record_of_one_stage_names_no_other(models: Path) -> None:
    ensemble = load_trained([models / "small" / "fold_0", models / "small" / "fold_1"])
    assert ensemble.previous == []
    segmenter, source = ensemble.place("cpu")
    assert isinstance(segmenter, Predictor)
    assert record_of(source).keys() == {"dataset", "configuration", "folds", "weights", "step", "mirror"}


def test_a_stage_that_is_missing_is_named_with_where_it_belongs(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = models / "second" / "fold_1"
    with pytest.raises(AutosegError, match=r"'second' builds on .* no trained fold 4 of it in .*models/small\..*autoseg train small 4"):
        load_trained([fold], previous_fold="4")
    monkeypatch.chdir(fold)
    assert len(load_trained([Path()]).previous) == 2  # beside it, also where the path does not say so
    monkeypatch.chdir(fold.parent)
    assert len(load_trained([Path("fold_1/../fold_1")]).previous) == 2
    (models / "small").rename(models / "elsewhere")
    with pytest.raises(AutosegError, match=r"no trained fold of it in .*small\..*autoseg train small cv"):
        load_trained([fold])
    (models / "second").rename(models / "small")
    with pytest.raises(AutosegError, match="holds a model of 'second', not of 'small'"):
        load_trained([models / "small" / "fold_1"])


def test_weights_that_a_cascade_was_not_trained_on_are_known(models: Path) -> None:
    fold = models / "second" / "fold_1"
    _, source = load_trained([fold]).place("cpu")
    assert source.previous is not None
    assert trained_on_others(fold, source.previous) == []  # nobody knows
    known = dict(zip(source.previous.folds, source.previous.weights, strict=True))
    (fold / "previous.json").write_text(json.dumps({"configuration": "small", "weights": known | {"2": "not used"}}))
    assert trained_on_others(fold, source.previous) == []
    (fold / "previous.json").write_text(json.dumps({"configuration": "small", "weights": known | {"1": "other"}}))
    assert trained_on_others(fold, source.previous) == ["1"]
    assert trained_on_others(fold, None) == []


def test_ready_shapes_of_resized_configurations(small_plan: Plans) -> None:
    coarse, sized = (small_plan(spacing=(2, 2, 2)), small_plan(resampling={"resize": (9, 8, 7)}))
    slices = small_plan(patch=(16, 16), resampling={"resize": (30, 20)})
    before, after, flat = (plan.configuration("small") for plan in (coarse, sized, slices))
    assert at_spacing((20, 20, 20), before, after) == (9, 8, 7)
    assert at_spacing((9, 8, 8), after, before) == (4, 4, 4)  # by the nominal spacing
    assert at_spacing((5, 8, 8), flat, flat) == (5, 30, 20)

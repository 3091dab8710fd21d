"""A run starts from another model's weights where the networks are alike; what differs is said; and the model is needed once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.errors import AutosegError
from autoseg.inference.model_folder import load_model, save_weights, start_model_folder, stored_fingerprint
from autoseg.networks import build
from autoseg.networks.weights import HEADS, weights_of
from autoseg.planning.plan import Plan, validate_plan
from autoseg.training import checkpoint
from autoseg.training.pretrained import load_start, source_of, take_over
from autoseg.training.run import read_run
from autoseg.training.schedule import Target

TWO_CLASSES = {"names": ["background", "tumour"], "values": [0, 1]}


def changed(plan: Plan, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Plan:
    """The plan after a change of its `dataset` block or of its configuration."""
    content = plan.model_dump(mode="json", exclude_none=True)
    change(content["dataset"], content["configurations"]["tiny"])
    return validate_plan(content, "the changed plan")


def elsewhere(dataset: dict[str, Any], configuration: dict[str, Any]) -> None:
    dataset["name"] = "Elsewhere"


def write_model(folder: Path, plan: Plan, *, seed: int = 77) -> Path:
    """A model as a training leaves it, with random weights."""
    torch.manual_seed(seed)
    (name,) = plan.configurations
    network = build(plan.configuration(name), in_channels=plan.input_channels(name), num_classes=plan.output_channels)
    start_model_folder(folder, plan, name, "0", "fast")
    save_weights(folder, weights_of(network))
    return folder


@pytest.fixture
def plan(make: SimpleNamespace) -> Plan:
    return make.plan(patch=(8, 8, 8))


@pytest.fixture
def model(plan: Plan, tmp_path: Path) -> Path:
    """Of the same network, for another dataset."""
    return write_model(tmp_path / "Elsewhere" / "tiny" / "fold_0", changed(plan, elsewhere))


@pytest.mark.parametrize("recipe", ["default", "fast"])
def test_the_network_and_its_average_start_from_the_weights(recipe: str, plan: Plan, model: Path, setting: Any, tmp_path: Path) -> None:
    folder = setting.decide(tmp_path / "run", recipe=recipe, pretrained=str(model), pretrained_weights=stored_fingerprint(model))
    trainer = setting.trainer(plan, folder)
    theirs = setting.weights_in(model)
    ours = weights_of(trainer._network)
    assert ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    average = trainer._stepper.average
    assert bool(average) == (recipe == "fast") and all(torch.equal(tensor, theirs[name]) for name, tensor in average.items())


def test_it_is_told_and_recorded(plan: Plan, model: Path, setting: Any, tmp_path: Path) -> None:
    setting.train(plan, tmp_path / "run", Target(steps=1), pretrained=model)
    assert setting.notes[0] == f"Starts from the weights of {model} (all {len(setting.weights_in(model))} tensors)."
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["pretrained"] == str(model) and run["pretrained_weights"] == stored_fingerprint(model)
    setting.train(plan, tmp_path / "random", Target(steps=1))
    assert not setting.same_weights(tmp_path / "run", tmp_path / "random")
    assert read_run(tmp_path / "random").pretrained is None


def test_heads_for_other_classes_start_as_those_of_a_run_from_random_weights(plan: Plan, setting: Any, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", changed(plan, lambda dataset, _: dataset.update(labels=TWO_CLASSES)))
    random = weights_of(setting.trainer(plan, tmp_path / "random", Target(steps=4))._network)
    ours = weights_of(setting.trainer(plan, tmp_path / "run", Target(steps=4), pretrained=model)._network)
    theirs, count = setting.weights_in(model), len(ours)
    for name, tensor in ours.items():
        assert torch.equal(tensor, random[name] if name.startswith(HEADS) else theirs[name]), name
    assert f"Starts from the weights of {model} ({count - 4} of {count} tensors; the heads for 3 classes start anew)." in setting.notes
    assert not any("Classes" in note for note in setting.notes)


def test_heads_for_regions_start_anew_after_as_many_classes(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """Three channels each, of which the first is the background there and the whole tumour here."""
    two = {"names": ["background", "tumour", "oedema"], "values": [0, 1, 2]}
    plan = make.plan(patch=(8, 8, 8), regions=True)
    model = write_model(tmp_path / "two", changed(make.plan(patch=(8, 8, 8)), lambda dataset, _: dataset.update(name="Two", labels=two)))
    trainer = setting.trainer(plan, tmp_path / "run", Target(steps=1), pretrained=model)
    theirs, ours = setting.weights_in(model), weights_of(trainer._network)
    anew = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert anew and all(name.startswith(HEADS) for name in anew) and "the heads for 3 regions start anew" in setting.notes[0]
    again = write_model(tmp_path / "three", changed(plan, elsewhere))
    trainer = setting.trainer(plan, tmp_path / "again", Target(steps=1), pretrained=again)
    assert all(torch.equal(tensor, setting.weights_in(again)[name]) for name, tensor in weights_of(trainer._network).items())


def test_a_stopped_run_does_not_need_the_model_again(plan: Plan, model: Path, setting: Any, tmp_path: Path) -> None:
    setting.train(plan, tmp_path / "straight", Target(steps=6), pretrained=model)
    folder = tmp_path / "broken"
    setting.trainer(plan, folder, Target(steps=6), pretrained=model)  # killed before its first step
    shutil.rmtree(model)
    setting.interrupted(plan, folder, 2)
    assert setting.train(plan, folder, pretrained=model).steps == 6
    assert [note for note in setting.notes if note.startswith("Starts")] == 2 * [setting.notes[0]]
    assert setting.same_weights(tmp_path / "straight", folder)


def test_a_run_that_lost_its_checkpoint_reads_the_model_again_if_it_is_that_one(plan: Plan, model: Path, setting: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    setting.interrupted(plan, folder, 1, Target(steps=3), pretrained=model)
    assert source_of(folder, None) is None
    (folder / checkpoint.FILE).unlink()
    assert source_of(folder, None) == model
    moved = model.rename(tmp_path / "moved")
    with pytest.raises(AutosegError, match=r"run began from the weights of .*fold_0 and has no checkpoint.*--restart"):
        source_of(folder, None)
    assert source_of(folder, moved) == moved
    assert source_of(folder, None, anew=True) is None
    write_model(model, changed(plan, elsewhere), seed=78)
    with pytest.raises(AutosegError, match="not there any more"):
        source_of(folder, None)


def test_a_run_keeps_the_start_it_had(plan: Plan, model: Path, setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_model(tmp_path / "other", plan, seed=78)
    run, random = tmp_path / "run", tmp_path / "random"
    setting.interrupted(plan, run, 1, Target(steps=3), pretrained=model)
    setting.interrupted(plan, random, 1, Target(steps=3))
    assert source_of(run, None) is source_of(run, model) is None
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    assert source_of(run, copy) is None
    monkeypatch.chdir(tmp_path)
    assert source_of(run, model.relative_to(tmp_path)) is None
    with pytest.raises(AutosegError, match=rf"{run} began from the weights of {model}, not from those of {other}\. .*--restart"):
        source_of(run, other)
    with pytest.raises(AutosegError, match=rf"{random} began from random weights, not from those of {model}\. .*--restart"):
        setting.train(plan, random, pretrained=model)
    assert source_of(run, other, anew=True) == other
    assert source_of(tmp_path / "new", other) == other and source_of(tmp_path / "new", None) is None


def test_a_finished_run_is_left_as_it_is_with_the_model_gone(plan: Plan, model: Path, setting: Any, tmp_path: Path) -> None:
    setting.train(plan, tmp_path / "run", Target(steps=1), pretrained=model)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    shutil.rmtree(model)
    assert setting.train(plan, tmp_path / "run", pretrained=model).steps == 1
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_a_model_does_not_start_from_itself(model: Path) -> None:
    for anew in (False, True):
        with pytest.raises(AutosegError, match="is the folder that is trained into"):
            source_of(model, model.parent / ".." / "tiny" / "fold_0", anew=anew)


def network(**lists: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda _, configuration: configuration["network"].update(lists)


def one_channel(dataset: dict[str, Any], configuration: dict[str, Any]) -> None:
    dataset["channel_names"], configuration["normalization"] = ["CT"], [{"channel": "CT", "scheme": "zscore"}]


def two_seen(_: dict[str, Any], configuration: dict[str, Any]) -> None:
    configuration["normalization"] = [rule for rule in configuration["normalization"] if rule["channel"] in ("flair", "t2")]


def four_stages(_: dict[str, Any], configuration: dict[str, Any]) -> None:
    stages = {"features_per_stage": [4, 8, 8, 8], "blocks_per_stage": [1] * 4, "convs_per_stage_decoder": [1] * 3}
    configuration["network"] |= stages | {"strides": [[1] * 3, [2] * 3, [2] * 3, [1, 1, 2]], "kernel_sizes": [[3] * 3] * 4}
    configuration["patch_size"] = [16, 16, 16]


ADVICE = r"Give Phantoms the model's plan, and train tiny: autoseg plan Phantoms --from Elsewhere"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (network(features_per_stage=[8, 16, 16]), rf"features_per_stage at stage 1: 8 there, 4 here \(and at 2 more\)\. {ADVICE}"),
        (network(kernel_sizes=[[3, 3, 3], [1, 3, 3], [3, 3, 3]]), rf"kernel_sizes at stage 2: 1 x 3 x 3 there, 3 x 3 x 3 here\. {ADVICE}"),
        (network(strides=[[1, 1, 1], [2, 2, 2], [1, 2, 2]]), r"strides at stage 3: 1 x 2 x 2 there, 2 x 2 x 2 here"),
        (
            network(blocks_per_stage=[1, 2, 1], family="residual_unet"),
            r"family: residual_unet there, plain_unet here; blocks_per_stage at stage 2",
        ),
        (network(convs_per_stage_decoder=[1, 2]), r"convs_per_stage_decoder at stage 2: 2 there, 1 here"),
        (four_stages, r"stages: 4 there, 3 here\."),
        (two_seen, r"input channels: 2 \(flair, t2\) there, 4 \(flair, t1, t1ce, t2\) here\. Give Phantoms the model's plan, and train tiny"),
        (one_channel, r"input channels: 1 \(CT\) there, 4 \(flair, t1, t1ce, t2\) here\. Start from a model for 4 input channels"),
    ],
)
def test_another_network_is_refused_in_words_before_anything_is_written(
    change: Callable[..., object], message: str, plan: Plan, setting: Any, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model", changed(changed(plan, elsewhere), change))
    with pytest.raises(AutosegError, match=rf"tiny of Phantoms cannot start from {model} \(tiny of Elsewhere\), whose network is another: {message}"):
        setting.train(plan, tmp_path / "run", Target(steps=1), pretrained=model)
    assert not (tmp_path / "run").exists()


def test_planes_and_volumes_are_told_apart(make: SimpleNamespace, plan: Plan, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", changed(make.plan(dimensions=2), elsewhere))
    with pytest.raises(AutosegError, match=r"another: 2D there, 3D here\."):
        load_start(model, plan, "tiny")


@pytest.mark.parametrize(("name", "advice"), [("tiny", r"--from .*model/plan\.json"), ("own", "Start from a model that was trained as tiny")])
def test_what_helps_within_a_dataset(name: str, advice: str, plan: Plan, tmp_path: Path) -> None:
    other = changed(plan, network(features_per_stage=[8, 8, 8]))
    model = write_model(tmp_path / "model", other.model_copy(update={"configurations": {name: other.configuration("tiny")}}))
    with pytest.raises(AutosegError, match=advice):
        load_start(model, plan, "tiny")


def cascade(plan: Plan, **labels: Any) -> Plan:
    """A plan with "tiny" and "second", which reads its segmentations."""
    content = plan.model_dump(mode="json", exclude_none=True)
    content["dataset"] |= labels
    content["configurations"]["second"] = content["configurations"]["tiny"] | {"previous_stage": "tiny"}
    return validate_plan(content, "the cascade")


def test_a_cascade_takes_as_many_classes_only(plan: Plan, tmp_path: Path) -> None:
    ours, theirs = cascade(plan), cascade(plan, name="Elsewhere", labels=TWO_CLASSES)
    folder = tmp_path / "model"
    start_model_folder(folder, theirs, "second", "0", "fast")
    save_weights(folder, weights_of(build(theirs.configuration("second"), in_channels=5, num_classes=2)))
    with pytest.raises(AutosegError, match=r"a previous stage: 1 there, 3 here\. A cascade's network .* its previous stage can start from a model"):
        load_start(folder, ours, "second")
    with pytest.raises(AutosegError, match=r"a previous stage: 1 there, 0 here\. .*autoseg plan Phantoms --from Elsewhere"):
        load_start(folder, ours, "tiny")


def other_input(dataset: dict[str, Any], configuration: dict[str, Any]) -> None:
    ct = {"scheme": "ct", "lower": -100.0, "upper": 240.0, "mean": 40.25, "std": 12.0}
    dataset["channel_names"] = ["flair", "native", "t1ce", "t2"]
    dataset["labels"] |= {"names": ["background", "core", "edema", "enhancing"]}
    configuration["spacing"] = [2.5, 1.0, 1.0]
    rules = [ct, {"scheme": "zscore"}, {"scheme": "zscore"}, {"scheme": "zscore", "use_mask": True}]
    configuration["normalization"] = [{"channel": name, **rule} for name, rule in zip(dataset["channel_names"], rules, strict=True)]


def told(plan: Plan, model: Path) -> list[str]:
    return take_over(load_start(model, plan, "tiny"), build(plan.configuration("tiny"), in_channels=4, num_classes=4), plan, "tiny")[1:]


def test_other_names_and_other_input_are_told_not_refused(plan: Plan, tmp_path: Path) -> None:
    theirs = changed(plan, other_input).model_copy(update={"transpose_forward": (1, 0, 2)})
    assert told(plan, write_model(tmp_path / "model", theirs)) == [
        "Channels are matched by their position: native -> t1.",
        "Classes are matched by their position: core -> necrosis.",
        "Its weights expect other input: axes in the order Y, Z, X, here Z, Y, X; spacing 2.5 x 1 x 1 mm, here 1 x 1 x 1;"
        " normalisation of flair by ct (-100 to 240, mean 40.25, std 12), here by zscore inside the mask;"
        " normalisation of t1, t1ce by zscore, here by zscore inside the mask.",
    ]
    assert told(plan, write_model(tmp_path / "alike", plan)) == []


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_a_folder_without_a_model_is_refused(given: str, plan: Plan, model: Path, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="holds no trained model"):
        load_start(tmp_path / given, plan, "tiny")


def test_a_model_whose_tensors_are_not_its_plans_is_refused(plan: Plan, model: Path) -> None:
    loaded = load_model(model)
    unlike = build(changed(plan, network(features_per_stage=[8, 8, 8])).configuration("tiny"), in_channels=4, num_classes=4)
    with pytest.raises(AutosegError, match=r"fold_0: .* has shape .*Copy the model again"):
        take_over(loaded, unlike, plan, "tiny")


def test_only_the_channels_that_are_seen_count(plan: Plan, tmp_path: Path) -> None:
    """Two of four there, both of two here; the words of schemes with numbers and of whole images."""

    def theirs(dataset: dict[str, Any], configuration: dict[str, Any]) -> None:
        configuration["normalization"] = [
            {"channel": "t1", "scheme": "percentile_to_0_1", "percentiles": [2, 98.5]}, {"channel": "t2", "scheme": "clahe", "clip_limit": 0.03},
        ]  # fmt: skip
        configuration["resampling"] = {"resize": [16, 16, 24]}

    def ours(dataset: dict[str, Any], configuration: dict[str, Any]) -> None:
        dataset["channel_names"] = ["t1", "dark"]
        configuration["normalization"] = [{"channel": "t1", "scheme": "clahe"}, {"channel": "dark", "scheme": "histogram_equalization"}]

    model = write_model(tmp_path / "model", changed(changed(plan, elsewhere), theirs))
    here = changed(plan, ours)
    network = build(here.configuration("tiny"), in_channels=2, num_classes=4)
    assert take_over(load_start(model, here, "tiny"), network, here, "tiny")[1:] == [
        "Channels are matched by their position: t2 -> dark.",
        "Its weights expect other input: whole images of 16 x 16 x 24 voxels, here cropped images at 1 x 1 x 1 mm;"
        " normalisation of t1 by percentile_to_0_1 (2 to 98.5), here by clahe (clip limit 0.01);"
        " normalisation of dark by clahe (clip limit 0.03), here by histogram_equalization.",
    ]
    wide = changed(here, lambda _, configuration: configuration["network"].update(features_per_stage=[8, 8, 8]))
    with pytest.raises(AutosegError, match=r"Copy the network of tiny from .*model/plan\.json into the plan of Phantoms\."):
        load_start(model, wide, "tiny")

"""The recipes that classify: each becomes a valid configuration of a plan, or says what the dataset lacks."""

import pytest

from autoseg.errors import PlanError
from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.plan import DatasetBlock, LabelsBlock, Plan, file_content, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.zoo.make import with_recipe
from autoseg.planning.zoo.recipes import own_recipes


def planned(attributes: dict[str, tuple[str, ...]] | None) -> Plan:
    statistics = IntensityStatistics(mean=50, median=40, std=120, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900)
    facts = Fingerprint(
        channel_names=("t1", "t2"), spacings=((1.0, 1.0, 1.0),) * 4, shapes_after_crop=((100, 150, 140),) * 4, median_relative_size_after_crop=1,
        intensities=(statistics,) * 2,
    )  # fmt: skip
    labels = LabelsBlock(names=("background", "a", "b"), values=(0, 1, 2))
    block = DatasetBlock(
        name="D", layout="brats", channel_names=("t1", "t2"), labels=labels, num_cases=4, file_ending=".nii.gz", attributes=attributes
    )  # fmt: skip
    return make_plan(facts, block, preset="cpu")


@pytest.mark.parametrize(("name", "classes"), [("classifier", ("absent", "present")), ("classifier_grade", ("LGG", "HGG"))])
def test_a_recipe_becomes_a_configuration_that_classifies(name: str, classes: tuple[str, ...]) -> None:
    plan = with_recipe(planned({"grade": ("HGG", "LGG")}), own_recipes()[name], encoder_weights="none")
    one = plan.configuration(name)
    assert one.task == "classification" and one.classification is not None and one.classification.classes == classes
    assert plan.network_outputs(name) == 2 and one.training.loss == "ce" and one.patch_size == one.resampling.resize
    assert one.network.family == "encoder" and not one.training.deep_supervision
    assert validate_plan(file_content(plan), "the plan") == plan
    assert with_recipe(plan, own_recipes()["classifier"], encoder_weights="none").configuration("classifier").task == "classification"


def test_grades_that_nobody_knows_are_missed_in_words() -> None:
    with pytest.raises(PlanError, match=r"classifier_grade\.classification\.target: the dataset has no such attribute \(found: 'grade'\)"):
        with_recipe(planned(None), own_recipes()["classifier_grade"])


def test_the_grades_weigh_as_the_recipe_says() -> None:
    plan = with_recipe(planned({"grade": ("HGG", "LGG")}), own_recipes()["classifier_grade"])
    assert plan.configuration("classifier_grade").training.class_weights == (0.8, 0.2)

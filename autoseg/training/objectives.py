"""Which objective the network of a configuration has, by its task."""

from collections.abc import Callable

from autoseg.planning.plan import Configuration, Plan
from autoseg.training.classification import Classification
from autoseg.training.objective import Objective
from autoseg.training.reconstruction import Reconstruction
from autoseg.training.segmentation import Segmentation, SegmentationWithClass


def objective_of(plan: Plan, name: str) -> Objective:
    """What the network of a configuration is taught."""
    configuration = plan.configuration(name)
    objectives: dict[str, Callable[[Plan, Configuration], Objective]] = {
        "segmentation": Segmentation if configuration.classification is None else SegmentationWithClass,
        "classification": lambda plan, configuration: Classification(configuration),
        "anomaly": lambda plan, configuration: Reconstruction(configuration),
        "denoising": lambda plan, configuration: Reconstruction(configuration),
    }
    return objectives[configuration.task](plan, configuration)

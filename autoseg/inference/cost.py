"""What predicting one case takes, whatever machine does it: windows of a typical case, mirrorings, and the network's arithmetic.

- A typical case has the plan's median shape, or the one that whole images are resized to; of a 2D configuration, whose plan knows the plane
  alone, the median number of slices.
- One fold is counted, and of a cascade one fold of its previous stage too; an ensemble of five folds takes five times as much.
"""

from dataclasses import dataclass

from autoseg.imaging.image import Shape3
from autoseg.inference.sliding_window import windows
from autoseg.networks.cost import NetworkCost, network_cost
from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.training_recipe import mirror_axes


@dataclass(frozen=True)
class CaseCost:
    """What one fold takes for a typical case.

    Attributes
    ----------
    parameters : weights of the network
    window_flops : arithmetic of one window
    windows : of a typical case; None where nobody knows how many slices it has
    mirrorings : how often each window is seen, 1 where no mirrored images are averaged
    previous : the same of a cascade's previous stage
    """

    parameters: int
    window_flops: int
    windows: int | None
    mirrorings: int
    previous: "CaseCost | None" = None

    @property
    def flops(self) -> int | None:
        """Arithmetic of the case, that of the previous stage included."""
        before = self.previous.flops if self.previous else 0
        return None if self.windows is None or before is None else self.window_flops * self.windows * self.mirrorings + before

    @property
    def all_parameters(self) -> int:
        """Weights that the case is predicted with, those of the previous stage included."""
        return self.parameters + (self.previous.all_parameters if self.previous else 0)


def case_cost(plan: Plan, name: str, recipe: str, slices: int | None) -> CaseCost:
    """Count what a typical case takes.

    Parameters
    ----------
    plan, name : with which configuration
    recipe : that it was trained with, and its previous stage too, where that has it
    slices : of a typical case, along the axis that 2D networks do not see; None: unknown
    """
    configuration = plan.configuration(name)
    network = _network(plan, name)
    shape = _typical_shape(configuration, slices)
    patch = configuration.patch_3d
    count = None
    if shape is not None:
        z, y, x = (max(length, size) for length, size in zip(shape, patch, strict=True))
        count = len(windows((z, y, x), patch, configuration.inference.step))
    previous = case_cost(plan, configuration.previous_stage, recipe, slices) if configuration.previous_stage else None
    return CaseCost(network.parameters, network.window_flops, count, 2 ** len(mirror_axes(configuration, recipe)), previous)


def window_flops(plan: Plan, name: str) -> float:
    """Arithmetic of one window of a configuration, counted on its network."""
    return _network(plan, name).window_flops


def _network(plan: Plan, name: str) -> NetworkCost:
    return network_cost(plan.configuration(name), in_channels=plan.input_channels(name), num_classes=plan.network_outputs(name))


def _typical_shape(configuration: Configuration, slices: int | None) -> Shape3 | None:
    """Voxels of the median case on the configuration's grid."""
    size = [max(1, round(length)) for length in configuration.resampling.resize or configuration.median_shape]
    if configuration.dimensions == 3:
        return size[0], size[1], size[2]
    return None if slices is None else (slices, size[0], size[1])

"""Presets: what kind of network, and how much a training step may cost.

- A reference is a number of convolution outputs (see rules/cost.py), given for 3D and for 2D at a memory of `reference_gb` and at a batch of
  `reference_batch`; another memory target scales it linearly.
- `default`, `resenc_m`, `resenc_l`, `resenc_xl` are sized for graphics cards of 8, 8, 24 and 40 GB.
- `cpu` is sized by time: one training step near one second on two cores without bfloat16 instructions (half of that with them).
  A plain U-Net of width 16 in float32 was measured to train 2.5e5 patch voxels a second in 3D on two cores with AVX2, so a batch of two may have
  patches of 1.6e5 voxels. Such a network makes about 116 outputs a voxel: 1.6e5 x 116 = 19e6 is the 3D reference. At the 70e6 outputs a GB
  of `default` this is 0.27 GB, so that `--gpu-memory` means the same for every preset.
  In 2D a kernel has 9 taps instead of 27, but pixels become 4 times fewer a stage while the work of each grows by 4, so every stage costs as much as
  the first: 65e3 multiplications a pixel (7 stages) against 57e3 a voxel in 3D (5 stages). At the same rate of arithmetic (estimated, not measured) a
  second trains 2.2e5 pixels; at 160 outputs a pixel, shared among the reference batch of 12, the 2D reference is 2.7e5 x 160 / 12 = 4e6.
  The batch stops at 2 volumes or 12 slices: in a short training more steps are worth more than larger batches.
  Such patches see little of a large picture, so pictures are made coarser: in ten minutes on pictures of 640 x 640 with tumours, a network that saw
  36 % of one reached a mean Dice of 0.62 where there is tumour, and 0.74 where it saw them whole (`benchmarks/pictures.py`).
  So every configuration, the coarser grid included, costs at most 1.4 times the arithmetic of the brain plan whose 529 steps took 15 minutes, and 20
  minutes see 400 steps. A cascade's further input channels add 432 multiplications a voxel each, one part in 130.
"""

from dataclasses import dataclass

from autoseg.errors import AutosegError
from autoseg.planning.rules.cost import Family


@dataclass(frozen=True)
class Sizing:
    """How large patches and batches may become in one dimensionality.

    Attributes
    ----------
    reference : convolution outputs that fit `Preset.reference_gb` at a batch of `reference_batch`
    reference_batch : see above
    room_for : the patch is reduced until a batch of this size fits
    max_features : limit of the channels of deep stages
    max_batch : limit of the batch, or None
    view : the part of a picture that a patch should see, for which pictures are made coarser, see `wider_view`; 0: they stay as they are
    """

    reference: float
    reference_batch: int
    room_for: int
    max_features: int
    max_batch: int | None = None
    view: float = 0.0


@dataclass(frozen=True)
class Preset:
    """A kind of network and the size of its training.

    Attributes
    ----------
    family : kind of encoder
    volumes, slices : sizes of 3D and of 2D configurations
    reference_gb : memory that the references belong to
    base_features : channels of the first stage; they double from stage to stage
    encoder_blocks : convolutions or residual blocks of each stage, the last repeats
    decoder_convs : convolutions of a decoder stage
    dataset_share : a batch covers at most this part of all voxels of the dataset
    epochs, iterations_per_epoch, validation_iterations : length of a training
    purpose : one line for the plan
    """

    family: Family
    volumes: Sizing
    slices: Sizing
    reference_gb: float
    base_features: int
    encoder_blocks: tuple[int, ...]
    decoder_convs: int
    dataset_share: float
    epochs: int
    iterations_per_epoch: int
    validation_iterations: int
    purpose: str

    def sizing(self, dimensions: int) -> Sizing:
        return self.volumes if dimensions == 3 else self.slices


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises
    ------
    AutosegError
        there is none; the text lists the choices
    """
    if name not in PRESETS:
        raise AutosegError(f"There is no preset '{name}'. Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]


def _residual(volumes: float, slices: float, gigabytes: float) -> Preset:
    return Preset(
        family="residual_unet",
        volumes=Sizing(reference=volumes, reference_batch=2, room_for=2, max_features=320),
        slices=Sizing(reference=slices, reference_batch=12, room_for=12, max_features=512),
        reference_gb=gigabytes,
        base_features=32,
        encoder_blocks=(1, 3, 4, 6),
        decoder_convs=1,
        dataset_share=1.0,
        epochs=1000,
        iterations_per_epoch=250,
        validation_iterations=50,
        purpose=f"A U-Net with a residual encoder, sized for a graphics card of {gigabytes:g} GB.",
    )


PRESETS: dict[str, Preset] = {
    "default": Preset(
        family="plain_unet",
        volumes=Sizing(reference=560e6, reference_batch=2, room_for=2, max_features=320),
        slices=Sizing(reference=85e6, reference_batch=12, room_for=2, max_features=512),
        reference_gb=8,
        base_features=32,
        encoder_blocks=(2,),
        decoder_convs=2,
        dataset_share=0.05,
        epochs=1000,
        iterations_per_epoch=250,
        validation_iterations=50,
        purpose="A plain U-Net of width 32, sized for a graphics card of 8 GB.",
    ),
    "cpu": Preset(
        family="plain_unet",
        volumes=Sizing(reference=19e6, reference_batch=2, room_for=2, max_features=320, max_batch=2),
        slices=Sizing(reference=4e6, reference_batch=12, room_for=2, max_features=512, max_batch=12, view=0.9),
        reference_gb=0.27,
        base_features=16,
        encoder_blocks=(2,),
        decoder_convs=2,
        dataset_share=0.05,
        epochs=200,
        iterations_per_epoch=50,
        validation_iterations=8,
        purpose="A plain U-Net of width 16, sized so that one training step takes about a second on two cores.",
    ),
    "resenc_m": _residual(680e6, 135e6, 8),
    "resenc_l": _residual(2100e6, 380e6, 24),
    "resenc_xl": _residual(3600e6, 560e6, 40),
}

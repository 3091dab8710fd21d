"""Plans equal those of nnU-Net 2.8.1 for the same fingerprints, in every field that both have; see `parity.py`."""

import pytest

from autoseg.planning.planner import make_plan
from tests.planning.conftest import make_facts
from tests.planning.parity import Vector, compare, published, vectors

EVERY_FIELD = {
    "batch_size",
    "patch_size",
    "median_image_size_in_voxels",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "batch_dice",
    "n_stages",
    "features_per_stage",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage_decoder",
}
PLANNED, MORE, PUBLISHED = vectors("planner_vectors"), vectors("peer_vectors"), published()


@pytest.mark.parametrize("vector", [*PLANNED, *MORE, *PUBLISHED], ids=lambda vector: vector.name)
def test_plan_equals_the_peers(vector: Vector) -> None:
    fields = compare(vector)
    assert {name: pair for name, pair in fields.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("vector", [*PLANNED, *MORE, *PUBLISHED], ids=lambda vector: vector.name)
def test_no_field_is_passed_over(vector: Vector) -> None:
    """What the peer decided is compared: no configuration and no field of it is missing from the count."""
    compared = set(compare(vector))
    for name in vector.configurations:
        expected = {"inherits_from", "previous_stage"} if name == "3d_cascade_fullres" else EVERY_FIELD
        assert {f"{name}.{key}" for key in expected} <= compared
        assert name == "3d_cascade_fullres" or {f"{name}.n_conv_per_stage", f"{name}.n_blocks_per_stage"} & compared
    assert ("3d_lowres.next_stage" in compared) == ("3d_lowres" in vector.configurations)


def test_every_kind_is_there() -> None:
    assert len(PLANNED) == 66
    cascades = [vector for vector in PLANNED if "3d_cascade_fullres" in vector.configurations]
    slices = [vector for vector in PLANNED if set(vector.configurations) == {"2d"}]
    assert (len(cascades), len(slices)) == (14, 19)
    assert {vector.preset for vector in PLANNED} == {"default", "resenc_m", "resenc_l", "resenc_xl"}
    assert any(vector.gpu_memory_gb for vector in MORE) and any(vector.spacing for vector in MORE)
    assert any("ignore" in vector.dataset["labels"] for vector in MORE) and any("regions_class_order" in vector.dataset for vector in MORE)


def test_where_we_part_from_the_peer() -> None:
    """A network that never pools cannot be built, and thin slices of one distance are no volume: the peer plans both, we say why we do not."""
    tiny = make_plan(*make_facts([(9, 10, 5)] * 3, [(1.0, 1.0, 1.0)] * 3))
    assert list(tiny.configurations) == ["3d_fullres"]
    assert tiny.why["2d"].startswith("Not made: the median image has 10 x 5 voxels")
    thin = make_plan(*make_facts([(1, 300, 200)] * 3, [(1.0, 2.0, 2.0)] * 3))
    assert list(thin.configurations) == ["2d"]

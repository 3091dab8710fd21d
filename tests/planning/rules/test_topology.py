from hypothesis import given
from hypothesis import strategies as st

from autoseg.planning.rules.topology import stage_voxels, topology


def test_thick_slices_worked_by_hand() -> None:
    """5 x 1 x 1 mm: two in-plane poolings bring 4 mm, then all axes, until Z has 5 voxels."""
    found = topology((5.0, 1.0, 1.0), (20, 160, 160))
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert found.kernel_sizes == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert found.divisors == (4, 32, 32)
    assert found.patch_size == (20, 160, 160)


def test_isotropic_cube() -> None:
    found = topology((1.0, 1.0, 1.0), (128, 128, 128))
    assert found.strides == ((1, 1, 1),) + ((2, 2, 2),) * 5
    assert stage_voxels(found.patch_size, found.strides) == tuple((128 >> stage) ** 3 for stage in range(6))


def test_patch_is_padded_up_and_fractions_are_allowed() -> None:
    assert topology((1.0, 1.0), (23.5, 33)).patch_size == (24, 36)


def test_exactly_twice_as_coarse_is_not_similar() -> None:
    found = topology((2.0, 1.0, 1.0), (64, 64, 64))
    assert found.strides[1] == (1, 2, 2)
    assert found.kernel_sizes[0] == (1, 3, 3)
    assert topology((1.999, 1.0, 1.0), (64, 64, 64)).strides[1] == (2, 2, 2)


def test_a_lone_axis_needs_twelve_voxels() -> None:
    assert topology((1.0, 1.0, 1.0), (6, 6, 11)).strides == ((1, 1, 1),)
    assert topology((1.0, 1.0, 1.0), (6, 6, 12)).strides == ((1, 1, 1), (1, 1, 2))


def test_tiny_patch_has_one_stage_with_a_full_kernel() -> None:
    found = topology((9.0, 1.0, 1.0), (3, 7, 7))
    assert found.strides == ((1, 1, 1),)
    assert found.kernel_sizes == ((3, 3, 3),)


millimetres = st.floats(0.1, 20)


@given(st.integers(2, 3).flatmap(lambda n: st.tuples(st.tuples(*[millimetres] * n), st.tuples(*[st.integers(1, 600)] * n))))
def test_every_stage_keeps_whole_voxels(grid: tuple[tuple[float, ...], tuple[int, ...]]) -> None:
    spacing, size = grid
    found = topology(spacing, size)
    for axis, extent in enumerate(size):
        pooled = 1
        for stride in found.strides:
            pooled *= stride[axis]
        assert pooled == found.divisors[axis]
        assert found.patch_size[axis] % pooled == 0
        assert extent <= found.patch_size[axis] < extent + pooled
        assert pooled == 1 or found.patch_size[axis] // pooled >= 4
    assert len(found.kernel_sizes) == found.stages
    assert all(min(kernels) == max(kernels) == 3 for kernels in found.kernel_sizes[-1:])
    assert all(
        later >= earlier for a, b in zip(found.kernel_sizes, found.kernel_sizes[1:], strict=False) for earlier, later in zip(a, b, strict=True)
    )


@given(st.tuples(millimetres, millimetres, millimetres), st.tuples(*[st.integers(8, 300)] * 3))
def test_doubling_the_unit_of_length_changes_nothing(spacing: tuple[float, ...], size: tuple[int, ...]) -> None:
    assert topology(spacing, size) == topology([2 * value for value in spacing], size)

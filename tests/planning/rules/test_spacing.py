import numpy as np

from autoseg.planning.rules.spacing import target_grid


def grid(spacings: list[tuple[float, ...]], shapes: list[tuple[int, ...]], override: tuple[float, float, float] | None = None):  # noqa: ANN201
    return target_grid(np.array(spacings, dtype=float), np.array(shapes, dtype=float), override)


def test_median_spacing_and_median_of_the_new_shapes() -> None:
    found = grid([(1, 1, 1), (2, 1, 1), (3, 1, 1)], [(60, 100, 100), (40, 90, 110), (20, 80, 120)])
    assert found.spacing == (2, 1, 1)
    assert found.median_shape == (30, 90, 110)  # Z: 30, 40, 30
    assert found.transpose_forward == (0, 1, 2)


def test_coarsest_axis_comes_first_and_everything_is_transposed() -> None:
    found = grid([(0.5, 0.6, 2.0)], [(200, 100, 30)])
    assert found.transpose_forward == (2, 0, 1)
    assert found.spacing == (2.0, 0.5, 0.6)
    assert found.median_shape == (30, 200, 100)
    assert found.plane().spacing == (0.5, 0.6)
    assert found.plane().median_shape == (200, 100)
    assert found.why_transpose == (
        "x is the coarsest axis (target spacing z 0.5, y 0.6, x 2 mm), so it becomes the first: slices then lie in the finest plane."
    )


def test_thick_and_few_slices_take_the_tenth_percentile() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(3, 14)]  # median 8, tenth percentile 4
    found = grid(spacings, [(20, 200, 200)] * 11)
    assert found.spacing == (4.0, 1.0, 1.0)
    assert found.why_spacing == (
        "z spacing 8 mm is more than 3 x 1 mm, and its 20 voxels are fewer than a third of the 200 across: the median would throw away what thinner"
        " slices show, so z takes the 10th percentile of the cases, 4 mm; the other axes take the median."
    )
    assert found.plane().why_spacing.endswith("Slices stay where they are; only the spacing within them is used.")


def test_tenth_percentile_is_never_finer_than_the_other_axes() -> None:
    spacings = [(0.5, 1.0, 1.2)] * 2 + [(8.0, 1.0, 1.2)] * 9
    found = grid(spacings, [(20, 200, 200)] * 11)
    assert found.spacing == (1.2 + 1e-5, 1.0, 1.2)
    assert "10th percentile of the cases, 0.5 mm, but no less than the 1.2 mm of the other axes" in found.why_spacing


def test_thick_but_many_slices_keep_the_median() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(3, 14)]
    found = grid(spacings, [(80, 200, 200)] * 11)
    assert found.spacing == (8.0, 1.0, 1.0)
    assert "8 mm is more than 3 x 1 mm, but its 80 voxels are not fewer than a third of the 200 across" in found.why_spacing


def test_three_times_is_not_more_than_three_times() -> None:
    spacings = [(1.0, 1.0, 1.0)] * 2 + [(3.0, 1.0, 1.0)] * 9
    found = grid(spacings, [(20, 200, 200)] * 11)
    assert found.spacing == (3.0, 1.0, 1.0)
    assert found.why_spacing == "z spacing 3 mm is not more than 3 x 1 mm: every axis takes the median spacing of the cases."


def test_the_users_spacing_is_in_the_files_axis_order() -> None:
    found = grid([(1, 1, 1)], [(60, 60, 60)], (1.0, 3.0, 2.0))
    assert found.transpose_forward == (1, 0, 2)
    assert found.spacing == (3.0, 1.0, 2.0)
    assert found.median_shape == (20, 60, 30)
    assert found.why_spacing == "Given by the user."


def test_halves_round_to_even() -> None:
    assert grid([(1, 1, 1), (1, 1, 1)], [(5, 7, 9)] * 2, (2.0, 2.0, 2.0)).median_shape == (2, 4, 4)


def test_single_slices_are_never_transposed() -> None:
    """A picture's missing third dimension has whatever spacing its format makes up."""
    found = grid([(1.0, 0.5, 2.0)], [(1, 300, 200)])
    assert found.transpose_forward == (0, 1, 2)
    assert found.median_shape == (1, 300, 200)


def test_single_slices_stay_single_whatever_their_thickness() -> None:
    thickness = [(1.0, 0.5, 0.5)] * 4 + [(5.0, 0.5, 0.5)] * 6
    assert grid(thickness, [(1, 300, 200)] * 10).median_shape == (1, 300, 200)
    found = grid(thickness, [(1, 300, 200)] * 10, (1.0, 1.0, 1.0))
    assert found.median_shape == (1, 150, 100)
    assert "slices have no distance" in grid(thickness, [(1, 300, 200)] * 10).plane().why_spacing

import numpy as np

from autoseg.planning.spacing import target_grid


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
    assert "X" in found.why_transpose


def test_thick_and_few_slices_take_the_tenth_percentile() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(3, 14)]  # median 8, tenth percentile 4
    found = grid(spacings, [(20, 200, 200)] * 11)
    assert found.spacing == (4.0, 1.0, 1.0)
    assert "10th percentile, 4 mm" in found.why_spacing


def test_tenth_percentile_is_never_finer_than_the_other_axes() -> None:
    spacings = [(0.5, 1.0, 1.2)] * 2 + [(8.0, 1.0, 1.2)] * 9
    found = grid(spacings, [(20, 200, 200)] * 11)
    assert found.spacing == (1.2 + 1e-5, 1.0, 1.2)
    assert "1.2 mm of the other axes" in found.why_spacing


def test_thick_but_many_slices_keep_the_median() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(3, 14)]
    found = grid(spacings, [(80, 200, 200)] * 11)
    assert found.spacing == (8.0, 1.0, 1.0)
    assert "not short enough" in found.why_spacing


def test_three_times_is_not_more_than_three_times() -> None:
    spacings = [(1.0, 1.0, 1.0)] * 2 + [(3.0, 1.0, 1.0)] * 9
    assert grid(spacings, [(20, 200, 200)] * 11).spacing == (3.0, 1.0, 1.0)


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

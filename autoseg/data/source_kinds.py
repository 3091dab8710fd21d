"""What a scan's files tell beside its voxels: how large they are, where they lie, whether they are colours.

- Picture formats count pixels. Slices that are stacked have the spacing that the user gave, and no place in the world.
"""

from autoseg.data.layouts._folder import is_picture
from autoseg.imaging.sources import ImageSource, Slices, files_of


def tells_spacing(source: ImageSource) -> bool:
    """Whether the size of its voxels is known, and not only assumed."""
    return isinstance(source, Slices) or tells_place(source)


def tells_place(source: ImageSource) -> bool:
    """Whether it is known how the patient lies in it."""
    return not any(is_picture(file) for file in files_of(source))


def may_have_colours(source: ImageSource) -> bool:
    """Whether three channels of it are red, green and blue."""
    return all(is_picture(file) for file in files_of(source))

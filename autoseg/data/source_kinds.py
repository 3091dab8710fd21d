"""What a scan's files tell beside its voxels: how large they are, where they lie, whether they are colours.

- Picture formats count pixels. Slices that are stacked have the spacing that the user gave, and no place in the world.
"""

from autoseg.data.layouts._folder import is_picture
from autoseg.imaging.sources import Drawing, ImageSource, Mask, Slices, Source, files_of


def tells_spacing(source: Source) -> bool:
    """Whether the size of its voxels is known, and not only assumed."""
    if isinstance(source, Mask):
        return tells_spacing(source.of)
    return isinstance(source, Slices) or tells_place(source)


def tells_place(source: Source) -> bool:
    """Whether it is known how the patient lies in it."""
    return not isinstance(source, Drawing) and not any(is_picture(file) for file in files_of(source))


def may_have_colours(source: ImageSource) -> bool:
    """Whether three channels of it are red, green and blue."""
    return all(is_picture(file) for file in files_of(source))

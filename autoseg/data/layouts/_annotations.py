"""COCO's file of annotations, as far as segmentation needs it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoseg.errors import AutosegError


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ListedPicture(_Content):
    """A picture: pixels along Y and X, and its file, relative to the annotations."""

    id: int
    file_name: str
    height: int = Field(ge=1, le=100_000)
    width: int = Field(ge=1, le=100_000)


class Category(_Content):
    """A kind of object."""

    id: int
    name: str


class Runs(_Content):
    """Pixels column by column, as lengths of runs of background and object in turn, as numbers or compressed; of a picture of (height, width)."""

    counts: tuple[int, ...] | str
    size: tuple[int, int] | None = None


class Object(_Content):
    """An object: polygons (x, y, x, y, ...) or runs, and a box (x, y, width, height)."""

    image_id: int
    category_id: int
    segmentation: tuple[tuple[float, ...], ...] | Runs = ()
    bbox: tuple[float, float, float, float] | None = None


class Annotations(_Content):
    """The file."""

    images: tuple[ListedPicture, ...]
    annotations: tuple[Object, ...] = ()
    categories: tuple[Category, ...]


def read_annotations(path: Path) -> Annotations:
    """Read the file.

    Raises
    ------
    AutosegError
        it is missing, or holds no annotations of COCO; the first faults are named
    """
    try:
        return Annotations.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AutosegError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()[:5]]
        raise AutosegError(f"{path} holds no annotations of COCO: {'; '.join(faults)}. Export them again.") from error

"""What a published recipe reports."""

from pydantic import BaseModel, ConfigDict


class Published(BaseModel):
    """A figure that a recipe's authors report.

    Attributes
    ----------
    metric : as the authors call it
    value : as printed
    data : what it was measured on
    differs : what keeps it from being compared with ours as it stands
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str
    value: float
    data: str
    differs: str

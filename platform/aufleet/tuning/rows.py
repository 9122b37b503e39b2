"""A table of named configurations: the rows of a paper's ablation table.

rows:
  without-fusion:
    label: w/o F&R
    settings: {fusion: false}
    published: {mean: 62.8}
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9._+-]{0,62}$"


class TableRow(BaseModel):
    """One configuration with a name of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = ""
    """What the paper calls it; empty for its name."""
    model: str | None = None
    """Name of the catalog; needed where `models` has several."""
    settings: dict[str, Any] = {}
    """As under `fixed`, in place of what stands there."""
    published: dict[str, float] = {}
    """What the paper reports in percent: "mean", and where known each unit or grade. Shown beside
    the results, never a target."""
    note: str = ""
    """How the row differs from the paper's."""
    left_out: str = ""
    """Why the row cannot be run; it stands in the table for its published numbers."""


RowName = Annotated[str, Field(pattern=NAME)]
EXPLAINING = {"label", "published", "note", "left_out"}
"""Keys that change nothing in what is trained."""

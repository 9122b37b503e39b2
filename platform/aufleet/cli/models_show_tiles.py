"""Maps laid over the face, as tiles with captions in rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from aufleet.cli.models_show_page import GAP, MARGIN, TITLE, Page, colours_between
from aufleet.cli.plot import ACTIVE, DIM, INK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILE, CAPTION = 1.52, 0.46
MAX_COLUMNS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A map in [0, 1] to be laid over the face."""

    values: "NDArray[np.float32]"
    colours: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """Maps of one unit, grade or region below each other, with a caption."""

    label: str
    number: str = ""
    name: str
    holds: bool = True
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Tiles in rows."""

    title: str
    note: str
    tiles: Sequence[Tile]

    @property
    def columns(self) -> int:
        """Tiles in a row, as even as can be."""
        return ceil(len(self.tiles) / ceil(len(self.tiles) / MAX_COLUMNS))

    @property
    def row_height(self) -> float:
        """One row with its captions and the space below."""
        layers = len(self.tiles[0].layers)
        return CAPTION + layers * TILE + (layers - 1) * GAP / 2 + 1.5 * GAP

    @property
    def height(self) -> float:
        """All rows with the title and the space below."""
        return TITLE + ceil(len(self.tiles) / self.columns) * self.row_height + GAP


def draw_block(
    page: Page, block: Block, crop: "NDArray[np.uint8]", *, left: float, top: float
) -> float:
    """Draw the tiles and return where the next block begins."""
    page.title(left, top, block.title)
    page.note(page.width - MARGIN - GAP, top, block.note)
    for place, tile in enumerate(block.tiles):
        row, column = divmod(place, block.columns)
        _draw_tile(
            page,
            tile,
            crop,
            left=left + column * (TILE + GAP),
            top=top + TITLE - 0.08 + row * block.row_height,
        )
    return top + block.height


def _draw_tile(
    page: Page, tile: Tile, crop: "NDArray[np.uint8]", *, left: float, top: float
) -> None:
    colour, weight = (INK, "bold") if tile.holds else (DIM, "normal")
    page.text(left, top, tile.label, fontsize=9.5, color=colour, fontweight=weight)
    page.text(left + TILE, top + 0.01, tile.number, ha="right", color=ACTIVE if tile.holds else DIM)
    page.text(left, top + 0.19, tile.name, fontsize=8.5, color=colour)
    top += CAPTION - 0.06
    for layer in tile.layers:
        axes = page.axes(left, top, TILE, TILE)
        axes.imshow(_overlay(crop, layer), interpolation="antialiased")
        if not layer.values.max() > 0:
            middle = crop.shape[0] / 2
            axes.text(middle, middle, "nothing", ha="center", fontsize=8.5, color=INK)
        top += TILE + GAP / 2


def _overlay(crop: "NDArray[np.uint8]", layer: Layer) -> "NDArray[np.float32]":
    """Return the grey face tinted by a map, (S, S, 3) in [0, 1]."""
    import cv2
    import numpy as np

    size = crop.shape[0]
    values = cv2.resize(layer.values, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    grey = crop.mean(axis=2, keepdims=True) / 255
    face = 0.25 + 0.75 * grey
    colour = colours_between(layer.colours)(np.clip(values[..., 0], 0, 1))[..., :3]
    # Multiplied, so that the features of the face stay visible below strong colour.
    tinted = colour * (0.45 + 0.55 * grey)
    strength = 0.85 * np.sqrt(np.clip(values, 0, 1))
    return np.clip((1 - strength) * face + strength * tinted, 0, 1)

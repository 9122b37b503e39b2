"""The picture of `aufleet models show`: what a network saw, where it looked, what it learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.cli.models_show_answer import Answer
from aufleet.cli.models_show_face import ShownFace
from aufleet.cli.models_show_network import UNTRAINED, ShownNetwork
from aufleet.cli.models_show_page import GAP, MARGIN, TITLE, Page
from aufleet.cli.models_show_relations import draw_relations, relations_height
from aufleet.cli.models_show_tiles import TILE, Block, Layer, Tile, draw_block
from aufleet.cli.plot import DIM, INK, POINT
from aufleet.cli.predict_rows import RESEARCH_USE

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

WARNING, FOUND = "#d9480f", "#ffa94d"
ATTENTION = ("#ffffff", "#3bc9db", "#0b7285")
ACTIVATION = ("#ffffff", "#ffd43b", "#e8590c", "#a61e4d")

HEADER, FOOTER = 0.78, 0.4
SIDE_WIDTH = 2.7
MIN_COLUMNS = 4
"""Fewer tiles leave the room that titles and notes need."""


def draw_picture(network: ShownNetwork, face: ShownFace, answer: Answer, *, out: Path) -> None:
    """Write the picture as a PNG.

    Raises:
        ConfigError: The file cannot be written.
    """
    blocks, labels = _blocks(network, answer), _region_labels(network, answer)
    columns = max(MIN_COLUMNS, *(block.columns for block in blocks))
    left = 2 * MARGIN + SIDE_WIDTH
    width = left + columns * (TILE + GAP) + MARGIN
    side = (1 if face.photo is None else 2) * (TITLE + SIDE_WIDTH + TITLE)
    below = HEADER + GAP + max(side, sum(block.height for block in blocks))
    height = below + FOOTER
    if answer.relations is not None:
        height += relations_height(answer.relations, labels, width)
    page = Page(width=width, height=height)
    _draw_words(page, network)
    _draw_side(page, face, answer)
    top = HEADER
    for block in blocks:
        top = draw_block(page, block, answer.crop, left=left, top=top)
    if answer.relations is not None:
        draw_relations(page, answer.relations, labels=labels, top=below)
    page.save(out)


def _blocks(network: ShownNetwork, answer: Answer) -> list[Block]:
    maps = tuple(Layer(values=values, colours=ACTIVATION) for values in answer.activation)
    attention = None
    if answer.attention is not None:
        attention = tuple(Layer(values=values, colours=ATTENTION) for values in answer.attention)
    if network.task == "au":
        layers = (
            [(one,) for one in maps] if attention is None else zip(attention, maps, strict=True)
        )
        title = "Class activation" if attention is None else "Attention and class activation"
        note = "" if attention is None else "above: attention; below: what speaks for the unit"
        tiles = [_answer_tile(network, answer, place, tuple(of)) for place, of in enumerate(layers)]
        return [Block(title=title, note=note or "what speaks for the unit", tiles=tiles)]
    tiles = [_answer_tile(network, answer, place, (one,)) for place, one in enumerate(maps)]
    blocks = [Block(title="Class activation", note="what speaks for the grade", tiles=tiles)]
    if attention is not None:
        names = _region_labels(network, answer)
        tiles = [
            Tile(label=part, name=side, layers=(one,))
            for (side, _, part), one in zip(
                (name.partition(" ") for name in names), attention, strict=True
            )
        ]
        note = "left and right are the picture's"
        blocks.append(Block(title="Attention to the regions", note=note, tiles=tiles))
    return blocks


def _answer_tile(
    network: ShownNetwork, answer: Answer, place: int, layers: tuple[Layer, ...]
) -> Tile:
    from aufleet.domain.action_units import NAMES, parse_unit

    label, holds = network.labels[place], bool(answer.active[place])
    number = f"{answer.probabilities[place]:.2f}"
    if network.task == "au":
        name = NAMES[parse_unit(label)]
        number = f"{number} active" if holds else number
    else:
        name = "most probable" if holds else ""
    return Tile(label=label, number=number, name=name, holds=holds, layers=layers)


def _region_labels(network: ShownNetwork, answer: Answer) -> Sequence[str]:
    from aufleet.domain.palsy import REGION_NAMES

    if network.task == "au":
        return network.labels
    num = len(answer.attention) if answer.attention is not None else len(REGION_NAMES)
    if num == len(REGION_NAMES):
        return REGION_NAMES
    return [f"region {place}" for place in range(1, num + 1)]


def _draw_words(page: Page, network: ShownNetwork) -> None:
    page.text(MARGIN, 0.24, network.title, fontsize=14, fontweight="bold")
    what = "action units" if network.task == "au" else "palsy grade"
    facts = [] if network.title == network.architecture else [network.architecture]
    words = "  ·  ".join([*facts, what, network.origin])
    page.text(MARGIN, 0.5, words, fontsize=9.5, color=DIM)
    if not network.trained:
        page.text(
            page.width - MARGIN,
            0.26,
            f"{UNTRAINED}: nothing here was learned",
            fontsize=11,
            fontweight="bold",
            color=WARNING,
            ha="right",
        )
    bottom = page.height - FOOTER + 0.16
    note = "each map has a scale of its own: the stronger the colour, the nearer to its maximum"
    page.text(MARGIN, bottom, note, fontsize=8, color=DIM)
    page.text(page.width - MARGIN, bottom, RESEARCH_USE, fontsize=8, color=DIM, ha="right")


def _draw_side(page: Page, face: ShownFace, answer: Answer) -> None:
    """Draw the photo, and below it the crop with landmarks."""
    top = HEADER
    if face.photo is not None and face.outline is not None:
        page.title(MARGIN, top, "Input")
        photo = page.axes(MARGIN, top + TITLE - 0.08, SIDE_WIDTH, SIDE_WIDTH)
        photo.imshow(face.photo, interpolation="antialiased")
        photo.set_anchor("NW")
        photo.autoscale(False)
        corners = [*face.outline, face.outline[0]]
        photo.plot([x for x, _ in corners], [y for _, y in corners], color="white", lw=1.3)
        top += TITLE + SIDE_WIDTH + 0.14
    page.title(MARGIN, top, "Landmarks")
    crop = page.axes(MARGIN, top + TITLE - 0.08, SIDE_WIDTH, SIDE_WIDTH)
    crop.imshow(answer.crop, interpolation="bicubic")
    crop.autoscale(False)
    _scatter(crop, answer.found, colour=FOUND)
    _scatter(crop, answer.landmarks, colour=POINT)
    _name_points(page, answer, top=top + TITLE + SIDE_WIDTH)


def _scatter(axes: "Axes", points: "NDArray[np.float32] | None", *, colour: str) -> None:
    if points is not None:
        x, y = points.T
        axes.scatter(x, y, s=11, color=colour, edgecolors=INK, linewidths=0.4)


def _name_points(page: Page, answer: Answer, *, top: float) -> None:
    """Write what the colours of the points mean, and what is missing."""
    left = MARGIN
    for points, words, colour in (
        (answer.landmarks, "predicted", POINT),
        (answer.found, "found", FOUND),
    ):
        if points is None:
            continue
        dot = page.axes(left, top - 0.04, 0.12, 0.12)
        dot.scatter([0], [0], s=22, color=colour, edgecolors=INK, linewidths=0.4)
        page.text(left + 0.17, top - 0.05, words, fontsize=8.5, color=DIM)
        left += 0.95
    if answer.landmarks is None:
        page.text(left, top - 0.05, "the network predicts none", fontsize=8.5, color=DIM)

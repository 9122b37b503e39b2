"""JAA-Net's attention refinement, drawn only where the initial maps are not zero."""

from torch import Tensor, nn

from aufleet_models.layers.folded.branch_chain import BranchChain, Step
from aufleet_models.layers.folded.windows import first_cells, pixels, window_side
from aufleet_models.layers.folding import folded_conv
from aufleet_models.layers.maps import box_cells, half_box
from aufleet_models.layers.refinement import MARGIN, AttentionRefinement


class WindowedRefinement(nn.Module):
    """An `AttentionRefinement` that knows its answer to nothing.

    Its convolutions have no padding: where an initial map is zero all around, the refined map has
    one constant value per unit. Only windows of 17 px around the two centres are convolved, 30 %
    of a map of 44 px.
    """

    constants: Tensor

    def __init__(self, refinement: AttentionRefinement) -> None:
        super().__init__()
        steps = [
            Step(conv=folded_conv(layer.conv, layer.norm))  # pyright: ignore
            for layer in refinement.layers
        ]
        self.num_units = refinement.last.groups
        self.chain = BranchChain(
            [*steps, Step(conv=refinement.last, relu=False)],
            num_branches=self.num_units,
            channels=refinement.channels,
            num_large=0,
        )
        zeros = refinement.last.weight.new_zeros(self.num_units, 1, 1, MARGIN + 1, MARGIN + 1)
        self.register_buffer("constants", self.chain(zeros).view(-1, 1), persistent=False)

    def forward(self, maps: Tensor, centres: Tensor) -> Tensor:
        """Return maps (B, n, S - 8, S - 8) in (0, 1).

        Args:
            maps: (B, n, S, S) initial maps.
            centres: (B, n, 2, 2) their centres in pixels of the crop.
        """
        size = maps.shape[-1]
        half, side = half_box(size), window_side(half_box(size), margin=MARGIN)
        cells = box_cells(centres, size=size)
        first = first_cells(cells, half=half, margin=MARGIN, size=size - MARGIN)
        seen = pixels(first, side=side + MARGIN, size=size)
        patches = maps.flatten(2).gather(2, seen.flatten(2)).unflatten(2, (2, -1))
        patches = patches.transpose(0, 1).reshape(
            self.num_units, -1, 1, side + MARGIN, side + MARGIN
        )
        drawn = self.chain(patches).float().view(self.num_units, len(maps), -1).transpose(0, 1)
        refined = self.constants.float().expand(len(maps), -1, (size - MARGIN) ** 2)
        refined = refined.scatter(2, pixels(first, side=side, size=size - MARGIN).flatten(2), drawn)
        return refined.unflatten(2, (size - MARGIN, -1)).sigmoid()

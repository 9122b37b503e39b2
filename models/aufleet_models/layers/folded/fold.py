"""Put the layers for inference in the place of those that train."""

from torch import nn

from aufleet_models.layers.alignment import AlignmentNet
from aufleet_models.layers.folded.attention import fold_attention
from aufleet_models.layers.folded.branch_chain import FoldedExtractor
from aufleet_models.layers.folded.fusion import FoldedFusion
from aufleet_models.layers.folded.refinement import WindowedRefinement
from aufleet_models.layers.folded.skip_lstm import FoldedSkipBiLSTM
from aufleet_models.layers.folded.stem import FoldedStem
from aufleet_models.layers.fusion import GlobalFusion
from aufleet_models.layers.graph import TokenAttention
from aufleet_models.layers.heads import IntegratedHead, LocalHeads
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.local_region import Stem
from aufleet_models.layers.refinement import AttentionRefinement
from aufleet_models.layers.skip_lstm import SkipBiLSTM


def fold(module: nn.Module) -> None:
    """Fold the layers of a region network, in place.

    Args:
        module: In evaluation mode; it can no longer be trained.
    """
    for name, child in list(module.named_children()):
        setattr(module, name, _folded(child))
        fold(getattr(module, name))


def _folded(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Stem):
        return FoldedStem(layer)
    if isinstance(layer, TokenAttention):
        return fold_attention(layer)
    if isinstance(layer, HighLevelExtractor):
        return FoldedExtractor(layer)
    if isinstance(layer, AttentionRefinement):
        return WindowedRefinement(layer)
    if isinstance(layer, GlobalFusion):
        return FoldedFusion(layer)
    if isinstance(layer, SkipBiLSTM):
        return FoldedSkipBiLSTM(layer)
    if isinstance(layer, AlignmentNet | IntegratedHead | LocalHeads):
        layer.fold()
    return layer

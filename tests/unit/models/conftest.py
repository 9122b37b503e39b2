"""The synthetic 49-point face of the specification (§12.1)."""

import pytest
import torch
from torch import Tensor

_POINTS = """
41,46 51,41 63,41 73,44 84,48 115,48 126,44 136,41 148,41 158,46
99.5,60 99.5,75 99.5,90 99.5,105 84,111 92,113 99.5,114 107,113 115,111
52,65 61,63 71,63 79,67 70,70 61,70 120,67 128,63 138,63 147,65 138,70 129,70
70,132 79,128 89,125 99.5,127 110,125 120,128 129,132 122,142 112,149 99.5,150 87,149 77,142
86,133 99.5,134 113,133 114,137 99.5,138 85,137
"""


@pytest.fixture(scope="session")
def face() -> Tensor:
    """(1, 49, 2) in pixels of the centre crop."""
    points = [[float(x) for x in point.split(",")] for point in _POINTS.split()]
    return torch.tensor(points)[None] - 12

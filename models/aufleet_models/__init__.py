"""The networks of four papers and their baselines; torch only, nothing of the platform.

catalog   the one table: name -> builder
contract  what every network takes and returns
layers    blocks that several families share
<family>  one architecture family per file
"""

from aufleet_models.catalog import build_model, list_models
from aufleet_models.contract import FaceModel, Prediction, TrainingStatistics

__all__ = ["FaceModel", "Prediction", "TrainingStatistics", "build_model", "list_models"]

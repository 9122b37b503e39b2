"""One trial: a network trained on one fold with DeepSpeed. Knows neither Ray nor Tune.

config       what a trial is, checked when built
trial        run_trial, score_test: the doors of the room
loop         what one trial does, start to end
epoch        one pass over the training part
schedule     the learning rate of each step
engine       network and optimizer inside DeepSpeed; a step; weights out and in
ranks        the process group of a trial's ranks
environment  what a process needs before DeepSpeed, and what a trial may change in it
fold_data    the fold's training, validation and test parts as batches
counting     tells how far a loader is
evaluation   predictions of the validation or test frames, gathered over the ranks
metrics      F1, kappa, landmark error, the best constant answer
watchdog     ends a process whose trial makes no progress
trained      a trained model, whatever holds it
scoring      how a trained model does on any data set
checkpoints  whole or absent, in the store
results      what a trial tells the outside
"""

from aufleet.training.config import TrialConfig
from aufleet.training.ranks import Ranks, join_ranks, leave_ranks, listen
from aufleet.training.results import EpochReport, Report, TestScore, TrialResult
from aufleet.training.trial import run_trial, score_test

__all__ = [
    "EpochReport",
    "Ranks",
    "Report",
    "TestScore",
    "TrialConfig",
    "TrialResult",
    "join_ranks",
    "leave_ranks",
    "listen",
    "run_trial",
    "score_test",
]

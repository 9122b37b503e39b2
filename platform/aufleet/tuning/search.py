"""Run a search to its end: the one place that talks to Tune."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from aufleet.errors import TrainingError
from aufleet.storage import Store
from aufleet.tuning.campaign import Campaign
from aufleet.tuning.events import Listeners, SearchListener
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.leaderboard import Leaderboard, read_leaderboard
from aufleet.tuning.lease import hold
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.meter import Meter
from aufleet.tuning.plan import plan_of, source_of
from aufleet.tuning.runs import limits_of
from aufleet.tuning.scheduler import FoldScheduler
from aufleet.tuning.searcher import CHECKPOINT, TRIAL, FoldSearcher
from aufleet.tuning.trainable import RunTrial, ScoreTest, TrialTrainable

_TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files per trial
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the ledger is the state, not Tune's pickles
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the search at once and is no success
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the ledger holds the reason
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_MAX_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
_MOST_PENDING = 1000
"""A cluster may be without a limit; a queue may not."""


def run_search(
    experiment: Experiment,
    *,
    root: Store,
    listeners: Sequence[SearchListener] = (),
    run_trial: RunTrial,
    score_test: ScoreTest,
    retry_failed: bool = False,
) -> Leaderboard:
    """Run what is left of an experiment, score its winner on the test parts, rank it.

    Ray must be initialised. The same call goes on after any interruption: what the ledger holds as
    ended is never run again.

    Args:
        experiment: What is searched.
        root: The root store; results lie under experiments/<name>.
        listeners: Hear of every step, in this process.
        run_trial: `aufleet.training.run_trial`, run in Tune's actors.
        score_test: `aufleet.training.score_test`, run there too.
        retry_failed: Try again what failed for good in an earlier run.

    Raises:
        ConfigError: A setting is wrong, an experiment of this name has others, or another driver
            runs it.
        LeaseLostError: Another driver has taken over.
        TrainingError: Every configuration failed.
    """
    store = root.child(f"experiments/{experiment.name}")
    plan = plan_of(experiment, root=root)
    plan.require_some(experiment.name)
    Ledger(store).open_experiment(experiment)
    lease = hold(store)
    try:
        ledger = Ledger(store, lease=lease)
        ledger.seal()
        whole = experiment.model_dump_json(indent=2, exclude_unset=True)
        store.write("report/experiment.json", whole.encode())
        meter = Meter(experiment.budget, usage=lease.usage)
        listener = Listeners(listeners)
        limits = limits_of(experiment, meter=meter, retry_failed=retry_failed)
        listener.search_started(
            num_trials=plan.trials + (len(experiment.models) if limits.control else 0),
            ended=ledger.trials(),
            num_folds=len(plan.folds),
        )
        try:
            campaign = Campaign(
                source_of(experiment, root=root, known=ledger.configurations()),
                ledger=ledger,
                listener=listener,
                limits=limits,
            )
            final_scores = FinalScores(
                ledger, folds=experiment.folds, listener=listener, of_all=bool(experiment.rows)
            )
            searcher = FoldSearcher(campaign, final_scores=final_scores)
            trainable = tune.with_parameters(
                TrialTrainable, experiment_store=store, run_trial=run_trial, score_test=score_test
            )
            _run_tune(trainable, searcher=searcher, experiment=experiment)
        finally:
            listener.search_ended()
            meter.update()
        leaderboard = replace(read_leaderboard(store), ended_early=campaign.budget_spent)
        _check_ends(leaderboard, final_scores=final_scores)
        store.write("report/leaderboard.json", leaderboard.to_json().encode())
        return leaderboard
    finally:
        lease.release()


def _run_tune(
    trainable: type[tune.Trainable],
    *,
    searcher: FoldSearcher,
    experiment: Experiment,
) -> None:
    num_pending = partial(num_fitting, experiment)
    settings = {**_TUNE_SETTINGS, _MAX_PENDING: str(num_pending())}
    with _quiet_tune(settings), tempfile.TemporaryDirectory(prefix="aufleet-tune-") as folder:
        tune.run(
            tune.with_resources(trainable, lambda config: _bundles(config, experiment=experiment)),
            name=experiment.name,
            storage_path=folder,
            search_alg=searcher,
            scheduler=FoldScheduler(searcher, num_pending=num_pending),
            num_samples=-1,  # the searcher knows the end
            callbacks=[_Check(searcher.check)],
            reuse_actors=True,
            max_failures=0,  # the searcher tries again, as a new attempt
            raise_on_failed_trial=False,
            trial_dirname_creator=lambda trial: trial.trial_id,
            verbose=0,
        )


def _bundles(config: dict[str, Any], *, experiment: Experiment) -> tune.PlacementGroupFactory:
    """Return what a trial occupies: one bundle for each rank, close to each other."""
    resources = experiment.resources
    bundle: dict[str, float] = {"CPU": resources.cpus_per_rank}
    if resources.gpus_per_rank:
        bundle["GPU"] = resources.gpus_per_rank
    return tune.PlacementGroupFactory([bundle] * _num_ranks(config), strategy="PACK")


def _num_ranks(config: dict[str, Any]) -> int:
    """Return how many processes train; one scores a test part."""
    return 1 if CHECKPOINT in config else config[TRIAL]["ranks"]


def num_fitting(experiment: Experiment) -> int:
    """Return how many trials the cluster can hold at its largest: as many may wait for resources.

    With Tune's own default of one, actors start one after the other, and an autoscaler sees a
    single waiting trial.
    """
    resources, cluster = experiment.resources, _largest_cluster()
    needs = {"CPU": resources.cpus_per_rank, "GPU": resources.gpus_per_rank}
    # By the smallest trial: models may have different numbers of ranks.
    ranks = [one.get("ranks", resources.ranks) for one in (experiment.per_model or {}).values()]
    ranks += [resources.ranks] if len(ranks) < len(experiment.models) else []
    searched = experiment.search.get("ranks")
    ranks = list(searched.choice or ranks) if searched else ranks
    fits = [int(cluster.get(kind, 0) / (need * min(ranks))) for kind, need in needs.items() if need]
    return max(1, min([*fits, _MOST_PENDING]))


def _largest_cluster() -> Mapping[str, float]:
    """Return what the cluster has, or may have once its autoscaler has answered."""
    from ray._private.state import state

    now = ray.cluster_resources()
    try:
        most = state.get_max_resources_from_cluster_config() or {}
    except Exception:
        most = {}  # this Ray has no such word; then what is there counts
    return {kind: max(now.get(kind, 0), most.get(kind, 0)) for kind in {*now, *most}}


class _Check(tune.Callback):
    """Ends the search where the searcher broke."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        self._check()


def _check_ends(leaderboard: Leaderboard, *, final_scores: FinalScores) -> None:
    """Raise where nothing, or not everything, came out."""
    if leaderboard.winner is None and not leaderboard.ended_early:
        reasons = [row.reason for row in leaderboard.rows if row.reason]
        raise TrainingError("every configuration failed", reasons[0] if reasons else "")
    if final_scores.errors:
        raise TrainingError("the winner could not be scored", final_scores.errors[0])


@contextmanager
def _quiet_tune(settings: Mapping[str, str]) -> Iterator[None]:
    """Set Tune up by its environment variables, and silence its loggers, for the time of a run."""
    before = {key: os.environ.get(key) for key in settings}
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.air", "ray.train")]
    levels = [logger.level for logger in loggers]
    os.environ.update(settings)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

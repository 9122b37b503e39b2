"""Run one trial, and score its checkpoint on the test part: what the other rooms call."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from pydantic import TypeAdapter
from safetensors.torch import save

from aufleet.errors import AlreadyExistsError, ConfigError, TrainingError
from aufleet.storage import Store, sha256_of
from aufleet.training.checkpoints import (
    MODEL,
    OPTIMIZER,
    Checkpoint,
    Checkpoints,
    read_checkpoint,
    read_tensors,
)
from aufleet.training.config import TrialConfig
from aufleet.training.engine import Engine
from aufleet.training.environment import load_deepspeed, trial_process
from aufleet.training.evaluation import evaluate
from aufleet.training.fold_data import (
    FoldData,
    TestData,
    fitted_options,
    open_fold,
    open_test,
    training_statistics,
)
from aufleet.training.initial import initialize, read_optimizer
from aufleet.training.loop import Trial, conclude, run_epochs
from aufleet.training.ranks import Ranks, join_ranks
from aufleet.training.results import Report, TestScore, TrialResult
from aufleet.training.watchdog import Watchdog, WatchedLoader
from aufleet_models.contract import FaceModel

Build = Callable[[TrialConfig, tuple[int, ...] | None], FaceModel]
"""Makes the network of a trial for these units."""

_NO_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)
TEST_SCORE = "test.json"
"""Key of the one score of the test part."""


def build_network(config: TrialConfig, units: tuple[int, ...] | None) -> FaceModel:
    """Build the catalog's network with fresh weights, for the landmarks that its data set has.

    Raises:
        ConfigError: The network refuses a setting.
    """
    from aufleet_models import build_model

    options = fitted_options(config)
    try:
        return build_model(
            config.model, task=config.task, units=units, width=config.width, **options
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{config.model} cannot be built: {error}") from error


def run_trial(
    config: TrialConfig,
    *,
    store: Store,
    report: Report,
    ranks: Ranks | None = None,
    data: FoldData | None = None,
    build: Build = build_network,
) -> TrialResult:
    """Train one trial to its end, from the newest whole checkpoint in its store if there is one.

    Every rank of the trial calls this; all return the same result. Only rank 0 calls `report` and
    writes to the store. An equal call after a crash, or after `report` returned False, goes on
    where the last checkpoint ends; after a finished trial it returns the result at once.

    Args:
        config: The trial.
        store: `<experiment>/trials/<model>/<config_id>/fold<k>`.
        report: Called on rank 0 after each epoch; False ends the trial (with a result).
        ranks: The process group; None joins a group of one.
        data: The fold's frames; None reads `config.dataset`.
        build: Makes the network.

    Raises:
        ConfigError: The network refuses a setting, the ranks are not the configuration's, or the
            trial cannot start from the model that it names.
        NonFiniteLossError: The loss became NaN or infinite; epoch and step are named.
        TrainingError: Memory ran out.
        ObjectCorruptError: The newest checkpoint, or a shard of the data, is damaged.
    """
    ranks = ranks or join_ranks()
    _check(config, ranks)
    checkpoints = Checkpoints(store=store, config=config)
    # In a function of its own: its network must be out of reach when the memory is released.
    with trial_process(threads=config.threads, seed=config.seed), _memory_named(config):
        return _train(config, checkpoints, report, ranks, data or open_fold(config), build)


def _train(
    config: TrialConfig,
    checkpoints: Checkpoints,
    report: Report,
    ranks: Ranks,
    data: FoldData,
    build: Build,
) -> TrialResult:
    resumed = ranks.from_first(checkpoints.newest)
    if resumed:
        checkpoints.initialized = resumed.initialized
    if resumed and resumed.epoch >= config.epochs:
        reports, constant = resumed.reports, resumed.constant
        return conclude(reports, constant, checkpoints=checkpoints, ranks=ranks)
    network, state = build(config, data.units), {}
    train = data.train(frame_size=network.frame_size, ranks=ranks)
    network.use_statistics(training_statistics(train))
    if resumed:
        network.load_state_dict(read_tensors(checkpoints.store, resumed, MODEL))
    elif config.initialize_from:
        checkpoints.initialized = initialize(network, config, config.initialize_from)
        state = read_optimizer(config.initialize_from, fold=config.fold)
    checkpoints.network = network.config
    validation = data.validation(frame_size=network.frame_size, ranks=ranks)
    load_deepspeed()  # unwatched: a minute where many processes start at once, and never a hang
    with (
        Watchdog(limit_s=config.stall_s) as watchdog,
        closing(Engine(network, config=config, ranks=ranks)) as engine,
    ):
        if resumed:
            state = read_tensors(checkpoints.store, resumed, OPTIMIZER)
        if state:
            engine.load_optimizer_state(state)
        trial = Trial(
            config=config,
            ranks=ranks,
            units=data.units,
            train=WatchedLoader(loader=train, watchdog=watchdog),
            validation=WatchedLoader(loader=validation, watchdog=watchdog),
            checkpoints=checkpoints,
            report=report,
            watchdog=watchdog,
        )
        return run_epochs(trial, engine=engine, resumed=resumed)


def score_test(
    config: TrialConfig,
    *,
    store: Store,
    checkpoint: str,
    data: TestData | None = None,
    build: Build = build_network,
) -> TestScore:
    """Score a checkpoint on the test part of its fold: once, whoever asks.

    The score is the object `test.json` in the trial's store, written only if it is not there.

    Args:
        config: The trial.
        store: The trial's store.
        checkpoint: Key of the checkpoint's folder, as in `TrialResult.checkpoint`.
        data: The fold's test part; None reads `config.dataset`.
        build: Makes the network.

    Raises:
        AlreadyExistsError: The fold of this configuration was scored before.
        ObjectMissingError: There is no such checkpoint.
    """
    if store.exists(TEST_SCORE):
        raise _scored_before(config, store)
    ranks = join_ranks()
    with trial_process(threads=config.threads, seed=config.seed):
        data = data or open_test(config)
        network = _trained(config, store, read_checkpoint(store, checkpoint), data, build)
        loader = data.test(frame_size=network.frame_size, ranks=ranks)
        predictions = evaluate(network.to(ranks.device).eval(), loader, ranks=ranks)
    score = predictions.score(data.units)
    file = save(predictions.tensors)
    result = TestScore(
        score=score.macro_f1,
        loss=score.loss,
        per_label=score.per_label,
        constant=score.constant,
        landmark_error=predictions.mean_landmark_error,
        accuracy=score.accuracy,
        kappa=score.kappa,
        accuracy_per_label=score.accuracy_per_label,
        auc=score.auc,
        confusion=score.confusion,
        counts=score.counts,
        num_frames=len(predictions.index),
        checkpoint=checkpoint,
        predictions=f"test-{sha256_of(file)[:16]}.safetensors",
    )
    store.write(result.predictions, file)
    try:
        store.write_new(TEST_SCORE, json.dumps(asdict(result), indent=1).encode())
    except AlreadyExistsError:
        raise _scored_before(config, store) from None
    return result


def read_test_score(store: Store) -> TestScore | None:
    """Return the score of a trial's test part if it was scored."""
    if not store.exists(TEST_SCORE):
        return None
    return TypeAdapter(TestScore).validate_json(store.read(TEST_SCORE))


@contextmanager
def _memory_named(config: TrialConfig) -> Iterator[None]:
    """Turn the many ways in which memory runs out into one error that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
        lacking = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))
        if not lacking:
            raise
        raise TrainingError(
            f"{config.model} with a batch of {config.batch} frames on {config.ranks} ranks ran "
            f"out of memory ({str(error).strip().partition(chr(10))[0] or 'no more is known'})",
            "lower batch or width, raise accumulation, or take more ranks",
        ) from error


def _trained(
    config: TrialConfig, store: Store, checkpoint: Checkpoint, data: TestData, build: Build
) -> FaceModel:
    network = build(config, data.units)
    network.load_state_dict(read_tensors(store, checkpoint, MODEL))
    return network


def _check(config: TrialConfig, ranks: Ranks) -> None:
    if config.ranks != ranks.size:
        raise ConfigError(f"the trial wants {config.ranks} ranks, {ranks.size} are here")


def _scored_before(config: TrialConfig, store: Store) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"fold {config.fold} of configuration {config.config_id} was scored on its test part",
        f"that score counts; it is in {store.uri_of(TEST_SCORE)}",
    )

"""One trial inside Tune: rank 0 in the trial's own actor, the other ranks in its placement group.

The actor is reused by later trials, which keeps imports, process group and caches warm. A trial
that raises takes its actor with it, so that nothing half done reaches the next one. Resuming is not
Tune's business: the training room finds the newest whole checkpoint in the store.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import TypeAdapter
from ray import tune
from ray.tune.result import DONE

from aufleet.errors import AlreadyExistsError, AufleetError
from aufleet.storage import Store
from aufleet.training.config import TrialConfig
from aufleet.training.ranks import Ranks
from aufleet.training.results import EpochReport, Report, TestScore, TrialResult
from aufleet.training.trial import read_test_score
from aufleet.tuning.grid import id_of
from aufleet.tuning.rank_actors import RankActors
from aufleet.tuning.searcher import CHECKPOINT, OUTCOME, TEST_SCORE, TRIAL, TRIAL_RESULT
from aufleet.tuning.stepping import Ended, Stepped

REPORT = "report"
"""The key of a report to Tune that holds the `EpochReport` as JSON."""
REPORTS = TypeAdapter(EpochReport)
BEGUN = "begun"
"""The key of the first report to Tune, before anything is trained."""
RunTrial = Callable[..., TrialResult]
"""`aufleet.training.run_trial`, or a test's own function of the same signature."""
ScoreTest = Callable[..., TestScore]
"""`aufleet.training.score_test`, or a test's own function of the same signature."""


class TrialTrainable(tune.Trainable):
    """Runs `run_trial` one epoch at a time."""

    def setup(
        self,
        config: dict[str, Any],
        *,
        experiment_store: Store,
        run_trial: RunTrial,
        score_test: ScoreTest,
    ) -> None:
        """Prepare the first trial of this actor.

        Args:
            config: What `FoldSearcher.suggest` returned.
            experiment_store: <root>/experiments/<name>.
            run_trial: What a trial does.
            score_test: What scores a checkpoint on the test part.
        """
        self._store, self._run_trial, self._score_test = experiment_store, run_trial, score_test
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trial")
        self._ranks: RankActors | None = None
        self._prepare(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial; one that was not asked to its end is ended first."""
        self._steps.stop()
        self._prepare(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Say that the trial has its place, then run one epoch, or score the whole test part."""
        if self._is_new:
            self._is_new = False
            return {"score": 0.0, BEGUN: True}
        answer = self._steps.next(check=self._check_ranks)
        if not isinstance(answer, Ended):
            return {"score": answer.score, REPORT: REPORTS.dump_json(answer).decode()}
        result = answer.result
        if isinstance(result, TestScore):
            outcome = TEST_SCORE.dump_json(result)
        else:
            outcome = TRIAL_RESULT.dump_json(result)
        return {"score": result.score, OUTCOME: outcome.decode(), DONE: True}

    def cleanup(self) -> None:
        """End what still runs."""
        self._steps.stop(timeout_s=60)
        if self._ranks:
            self._ranks.stop()

    def _prepare(self, config: dict[str, Any]) -> None:
        self._trial = TrialConfig.from_settings(config[TRIAL])
        self._trial_store = self._store.child(f"trials/{id_of(self._trial)}")
        self._is_new = True
        checkpoint = config.get(CHECKPOINT)
        function = partial(self._score, checkpoint) if checkpoint else self._run_ranks
        self._steps: Stepped[EpochReport, TrialResult | TestScore] = Stepped(
            function, executor=self._executor
        )

    def _score(self, checkpoint: str, report: Report) -> TestScore:
        """Score a checkpoint, or return the score that an interrupted search left behind."""
        try:
            return self._score_test(self._trial, store=self._trial_store, checkpoint=checkpoint)
        except AlreadyExistsError:
            score = read_test_score(self._trial_store)
            if score is None or score.checkpoint != checkpoint:
                raise
            return score

    def _run_ranks(self, report: Report) -> TrialResult:
        """Run this trial on all its ranks; called in the trial's thread."""
        store = self._trial_store
        if self._trial.ranks == 1:
            return self._run_trial(self._trial, store=store, report=report, ranks=None)
        if self._ranks is None:
            self._ranks = RankActors(size=self._trial.ranks)
        own: Ranks = self._ranks.start(self._trial, store=store, run_trial=self._run_trial)
        try:
            result = self._run_trial(self._trial, store=store, report=report, ranks=own)
        except AufleetError:
            raise
        except Exception:
            # A rank that is gone breaks the others' calls: what it said counts for more.
            self._ranks.raise_reason()
            raise
        self._ranks.wait()
        return result

    def _check_ranks(self) -> None:
        if self._ranks:
            self._ranks.check()

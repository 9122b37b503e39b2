"""From an importer to a published data set, as a Ray Data pipeline.

A task reads one subject, or one after another where there are many: it decodes the subject's
videos, stores the partition under its digest and writes a receipt. Ray Data spreads the tasks over
the nodes of the cluster and repeats one whose process died. This process sees receipts only, and
writes the manifest when it has them all.

Memory: at most `parallelism` tasks run at once. A task holds its subject's rows with their pictures
still encoded, a table of them and the Parquet file while it is written, and one decoded frame. That
is 0.19 GB and 3.7 times the partition, whatever the size of the release (measured: 0.21 GB for 500
frames of 12 kB, 0.41 GB for 5,000), and what the importer's decoder needs. This process holds the
receipts.
"""

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from aufleet.data.importers.contract import Importer, SubjectPlan, Unusable
from aufleet.data.importing.receipts import Receipt, Receipts, identity_of
from aufleet.data.importing.subject import ImportJob, Tick, task
from aufleet.data.manifest import Manifest
from aufleet.data.publish import (
    DatasetSpec,
    check_split,
    check_subject_name,
    publish_stored,
    read_manifest,
)
from aufleet.errors import AlreadyExistsError, AufleetError, DataError
from aufleet.storage import Store

LEAST_TASKS, TASKS_PER_PROCESS = 64, 32
"""So many tasks share the subjects where these are more: the end of a task is noticed up to 0.2 s
late, which is more than a subject with a few pictures takes."""

FRAMES_PER_TICK = 25
"""News twice a second where frames are looked for in videos; more cost more than they tell."""


@dataclass(frozen=True, kw_only=True)
class ImportProgress:
    """How far an import is."""

    num_subjects: int
    num_frames: int
    """Frames that are expected."""
    subjects_done: int
    frames_done: int
    """Frames looked at, counting those of an earlier run."""
    frames_resumed: int
    """Frames that an earlier run had finished."""


@dataclass(kw_only=True)
class _Account:
    """Adds up what the tasks say."""

    plans: dict[str, SubjectPlan]
    report: Callable[[ImportProgress], None]
    receipts: dict[str, Receipt] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    resumed: int = 0

    def resume(self, receipts: Sequence[Receipt]) -> None:
        self.receipts |= {receipt.subject: receipt for receipt in receipts}
        self.resumed = self._finished()
        self._say()

    def take(self, said: Tick | Receipt) -> None:
        if isinstance(said, Tick):
            self.running[said.subject] = said.num_frames
        else:
            self.running.pop(said.subject, None)
            self.receipts[said.subject] = said
        self._say()

    def _finished(self) -> int:
        return sum(self.plans[subject].num_frames for subject in self.receipts)

    def _say(self) -> None:
        # A subject counts as many frames as were expected of it, or the bar would never be full.
        running = sum(
            min(frames, self.plans[subject].num_frames) for subject, frames in self.running.items()
        )
        self.report(
            ImportProgress(
                num_subjects=len(self.plans),
                num_frames=sum(plan.num_frames for plan in self.plans.values()),
                subjects_done=len(self.receipts),
                frames_done=self._finished() + running,
                frames_resumed=self.resumed,
            )
        )


@dataclass(frozen=True, kw_only=True)
class PlannedImport:
    """What has to be read, found without Ray; `run_import` reads it."""

    importer: Importer
    spec: DatasetSpec
    target: Store
    plans: tuple[SubjectPlan, ...]
    unusable: tuple[Unusable, ...]
    """Known before anything is read."""
    published: Manifest | None
    """What the same import has published already."""


def import_dataset(
    importer: Importer,
    *,
    spec: DatasetSpec,
    store: Store,
    parallelism: int | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
) -> Manifest:
    """Import a source and publish it as `<store>/datasets/<name>/<version>`.

    Ray must be initialized. Where an earlier run of the same import was stopped or killed, this one
    goes on: finished subjects are not read again. Nothing is visible before the manifest is
    written; of two importers of one version exactly one wins, whole.

    Args:
        importer: Reads the source.
        spec: Name, version, seed; units, source and fixed folds are the importer's.
        store: The root of everything.
        parallelism: How many subjects are read at once, in the whole cluster; None: one per CPU.
        progress: Called whenever there is news, in this thread.

    Raises:
        AlreadyExistsError: The version exists with other content.
        ConfigError: Too few subjects for three folds, or an option that does not fit.
        DataError: The source cannot be read as the importer expects, or a worker died repeatedly.
        StoreError: The source or the store cannot be reached.
    """
    planned = plan_import(importer, spec=spec, store=store)
    return run_import(planned, parallelism=parallelism, progress=progress)


def plan_import(importer: Importer, *, spec: DatasetSpec, store: Store) -> PlannedImport:
    """Look at the source and the store, and refuse what would fail after hours; needs no Ray.

    Raises:
        AlreadyExistsError: The version was published from another source.
        ConfigError: Too few subjects for three folds, or an option that does not fit.
        DataError: The source is not laid out as the importer expects.
        StoreError: The source or the store cannot be reached.
    """
    plans, unusable = importer.plan()
    whole = replace(
        spec, units=importer.units, source=importer.describe(), parts=importer.parts or spec.parts
    )
    target = store.child(spec.prefix)
    _check_plans(plans, spec=whole)
    return PlannedImport(
        importer=importer,
        spec=whole,
        target=target,
        plans=tuple(plans),
        unusable=tuple(unusable),
        published=_published(target, spec=whole),
    )


def run_import(
    planned: PlannedImport,
    *,
    parallelism: int | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
) -> Manifest:
    """Read what is left of a planned import and publish; as `import_dataset`."""
    if planned.published:
        return planned.published
    receipts = Receipts(target=planned.target, identity=identity_of(planned.importer))
    account = _Account(
        plans={plan.subject: plan for plan in planned.plans}, report=progress or (lambda _: None)
    )
    receipts.begin()
    account.resume(receipts.finished(planned.plans))
    job = ImportJob(
        importer=planned.importer,
        receipts=receipts,
        num_units=len(planned.spec.units),
        frames_per_tick=FRAMES_PER_TICK,
    )
    left = [plan for plan in planned.plans if plan.subject not in account.receipts]
    for said in _run(job, left, parallelism=parallelism):
        account.take(said)
    for receipt in _unheard(account.receipts, planned, receipts=receipts):
        account.take(receipt)
    manifest = _publish(account.receipts, planned)
    receipts.delete()
    return manifest


def _published(target: Store, *, spec: DatasetSpec) -> Manifest | None:
    """Return what the same import has published already.

    Raises:
        AlreadyExistsError: Another import has.
    """
    published = read_manifest(target)
    if published is None:
        return None
    if (published.source, published.units, published.seed) != (spec.source, spec.units, spec.seed):
        raise AlreadyExistsError(
            f"{target.uri} is already published, from {published.source}", "choose another version"
        )
    return published


def _check_plans(plans: Sequence[SubjectPlan], *, spec: DatasetSpec) -> None:
    """Find before the work what would stop it at the end."""
    seen: set[str] = set()
    for plan in plans:
        check_subject_name(plan.subject)
        if plan.subject in seen:
            raise DataError(f"subject {plan.subject} is planned twice", "a fault of the importer")
        seen.add(plan.subject)
    check_split(seen, spec=spec)


def _unheard(
    heard: Mapping[str, Receipt], planned: PlannedImport, *, receipts: Receipts
) -> list[Receipt]:
    """Return the receipts of subjects whose tasks ended without a word.

    Tasks say as much when they are repeated (`subject`), so there should be none; but a subject
    must never be lost without a word, and its receipt would lie in the store.

    Raises:
        DataError: There is one that does not.
    """
    silent = [plan for plan in planned.plans if plan.subject not in heard]
    found = receipts.finished(silent) if silent else []
    if lacking := {plan.subject for plan in silent} - {receipt.subject for receipt in found}:
        raise DataError(
            f"subject {min(lacking)} was not read, though every process has ended its work",
            "repeat the command, which goes on with the subjects that are left",
        )
    return found


def _publish(receipts: dict[str, Receipt], planned: PlannedImport) -> Manifest:
    stored = [receipt.stored for receipt in receipts.values() if receipt.stored]
    # Somebody may have cleaned the store while we worked; a manifest must not name what is gone.
    there = set(planned.target.keys())
    gone = [one.partition for one in stored if one.partition.key not in there]
    if gone:
        raise DataError(
            f"{planned.target.uri_of(gone[0].key)} is gone, though a worker wrote it",
            "import into a store that every node sees, and repeat the command",
        )
    lost = [item for subject in sorted(receipts) for item in receipts[subject].unusable]
    return publish_stored(
        stored, spec=planned.spec, target=planned.target, unusable=[*planned.unusable, *lost]
    )


def _run(
    job: ImportJob, plans: Sequence[SubjectPlan], *, parallelism: int | None
) -> Iterator[Tick | Receipt]:
    """Yield what the tasks say, as they say it.

    Raises:
        AufleetError: A task met it; the others are stopped.
    """
    if not plans:
        return
    import ray
    from ray.exceptions import RayError, RayTaskError

    processes = parallelism or int(ray.cluster_resources().get("CPU", 1))
    num_tasks = min(len(plans), max(LEAST_TASKS, TASKS_PER_PROCESS * processes))
    rows = [{"plan": pickle.dumps(plan)} for plan in _dealt(plans, num_tasks=num_tasks)]
    with _quiet_rows_at_once():
        pipeline = ray.data.from_items(rows, override_num_blocks=num_tasks).map_batches(
            cast(Any, task),  # Ray Data's types know no generator with arguments
            batch_size=None,
            num_cpus=1,
            concurrency=parallelism,
            fn_kwargs={"job": job},
        )
        try:
            # Closed here, so that an error or Ctrl-C starts no further task.
            with closing(cast(Any, iter(pipeline.iter_rows()))) as answers:
                for row in answers:
                    said = pickle.loads(row["said"])
                    if isinstance(said, AufleetError):
                        raise said
                    yield said
        except RayTaskError as error:
            raise DataError(
                f"a worker cannot read subjects ({_last_line(error)})",
                "install the same aufleet on every node and repeat the command",
            ) from error
        except RayError as error:
            raise DataError(
                f"a process that read a subject ended ({_last_line(error)})",
                "if memory ran out, repeat the command with a smaller --parallelism",
            ) from error


def _dealt(plans: Sequence[SubjectPlan], *, num_tasks: int) -> Iterator[SubjectPlan]:
    """Yield the plans task by task, so that every task has about as many frames.

    The longest first: one long subject at the end would let every other process wait for it.
    """
    ordered = sorted(plans, key=lambda plan: (-plan.num_frames, plan.subject))
    for number in range(num_tasks):
        yield from ordered[number::num_tasks]


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]


@contextmanager
def _quiet_rows_at_once() -> Iterator[None]:
    """Let Ray Data hand on each row when it is there, and draw no bars of its own."""
    from ray.data import DataContext

    with warnings.catch_warnings():
        # The first use of a context warns of a field of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = {name: getattr(context, name) for name in _SETTINGS}, logger.level
    for name, value in _SETTINGS.items():
        setattr(context, name, value)
    # What went wrong is raised; Ray Data would print a page of stack traces beside it.
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, value in before[0].items():
            setattr(context, name, value)
        logger.setLevel(before[1])


_SETTINGS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    # In bytes: a block ends after each row, so that rows do not wait for their task's end.
    "target_max_block_size": 1,
}

"""`aufleet data forget`: a subject withdraws."""

from typing import TYPE_CHECKING

import typer

from aufleet.cli.data_progress import frames_bar
from aufleet.cli.output import console, errors, print_json

if TYPE_CHECKING:
    from aufleet.data.dataset import Dataset
    from aufleet.data.forget import Trace


def forget_command(
    subject: str = typer.Argument(help="Who withdrew, as the data set names the subject."),
    uri: str = typer.Argument(help="URI of the data set, or NAME/VERSION below the root."),
    version: str = typer.Option(
        "", "--version", help="Name of the new version; default: the next."
    ),
    delete: bool = typer.Option(
        False, "--delete", help="Also delete the subject's frames from every other version."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Publish a new version without a subject, and name what is still to be deleted.

    The other subjects stay in the parts of the folds where they were. Without --delete the old
    versions keep the frames, and each object is named. Models that were trained with the subject
    are named too; they are never deleted here.

    Example: aufleet data forget F001 bp4d/1 --delete
    """
    from aufleet.data.dataset import open_dataset
    from aufleet.data.forget import (
        delete_subject,
        find_traces,
        forget_subject,
        next_version,
        root_of,
    )
    from aufleet.data.orphans import dataset_versions

    old = open_dataset(uri)
    left = old.manifest.num_frames - old.partition(subject).num_frames
    with frames_bar("copying", total=left) as advance:
        new = forget_subject(
            old,
            subject=subject,
            version=version or next_version(old.manifest.version),
            progress=advance,
        )
    root, name = root_of(new), new.manifest.name
    deleted: list[str] = []
    if delete:
        for store in dataset_versions(root, name=name):
            deleted += delete_subject(store, subject=subject, successor=new.uri)
    traces = find_traces(root, name=name, subject=subject)
    models = _models(new, subject=subject)
    if as_json:
        print_json(
            {
                "uri": new.uri,
                "replaces": old.uri,
                "deleted": deleted,
                "to_delete": [vars(trace) for trace in traces],
                "models": models,
            }
        )
    else:
        _show(new, deleted=deleted, traces=traces, models=models)


def _models(new: "Dataset", *, subject: str) -> list[str]:
    """Return the packages that were made from a version that names the subject."""
    from aufleet.data.forget import root_of
    from aufleet.data.manifest import MANIFEST_KEY
    from aufleet.data.orphans import dataset_versions
    from aufleet.data.publish import read_manifest
    from aufleet.registry.trained_on import packages_trained_on
    from aufleet.storage import sha256_of

    root = root_of(new)
    digests = set()
    for store in dataset_versions(root, name=new.manifest.name):
        manifest = read_manifest(store)
        if manifest and subject in manifest.subjects:
            digests.add(sha256_of(store.read(MANIFEST_KEY)))
    return packages_trained_on(root, manifest_digests=digests)


def _show(new: "Dataset", *, deleted: list[str], traces: list["Trace"], models: list[str]) -> None:
    console.print(f"[bold]{new.uri}[/]", soft_wrap=True)
    console.print(
        f"published without the subject: {len(new.manifest.partitions)} subjects, "
        f"{new.manifest.num_frames:,} frames; use it in the place of version "
        f"{new.manifest.replaces}"
    )
    for uri in deleted:
        console.print(f"deleted  {uri}", soft_wrap=True)
    if traces:
        errors.print("[yellow]the subject still stands in[/]")
    for trace in traces:
        console.print(f"  {trace.uri} [dim]{trace.what}[/]", soft_wrap=True)
    if any(trace.what == "frames" for trace in traces):
        errors.print("the same command with --delete removes the frames, receipts and lists")
    if models:
        errors.print("[yellow]models that were trained with the subject[/]")
    for uri in models:
        console.print(f"  {uri}", soft_wrap=True)
    errors.print(
        "[dim]not reached from here: caches on the nodes, checkpoints of experiments, the raw "
        "source, backups, and earlier versions that a bucket with versioning keeps[/]"
    )

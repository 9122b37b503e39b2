"""Importers that read from a real S3 server, and what comes out is what a local folder gives."""

import tempfile
from pathlib import Path

import pytest
from raw_trees.bp4d import write_bp4d
from raw_trees.disfa import write_disfa
from raw_trees.folder import write_folder
from raw_trees.fpara import write_fpara

from aufleet.data.importers import IMPORTERS, Unusable
from aufleet.errors import DataError
from aufleet.storage import Store

pytestmark = pytest.mark.s3


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """Each format in the folder of its name."""
    write_bp4d(tmp_path / "bp4d", subjects=("F001", "M002"), frames=2, landmarks=True)
    write_disfa(tmp_path / "disfa", subjects=("SN001", "SN003"), frames=3)
    write_fpara(tmp_path / "fpara", subjects=2, frames=2)
    write_folder(tmp_path / "folder", subjects=3, frames=2)
    return tmp_path


@pytest.mark.parametrize("name", ["bp4d", "disfa", "fpara", "folder"])
def test_a_source_in_s3_gives_what_a_local_one_gives(
    trees, s3_store, name, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for path in (trees / name).rglob("*"):
        if path.is_file():
            s3_store.write(path.relative_to(trees).as_posix(), path.read_bytes())

    there, here = everything(name, s3_store.uri_of(name)), everything(name, str(trees / name))

    assert there == here
    assert sum(isinstance(item, tuple) for item in here) > 3
    assert list(folder.iterdir()) == []


def test_an_empty_prefix_is_an_error_that_names_it(s3_store: Store) -> None:
    with pytest.raises(DataError, match=rf"no label file AUCoding.* at {s3_store.uri}/none"):
        everything("bp4d", s3_store.uri_of("none"))


def everything(name: str, source: str) -> list[object]:
    """Return what an importer yields, records by what tells them apart."""
    importer = IMPORTERS[name](source, crop="lpnet")
    plans, unusable = importer.plan()
    found: list[object] = list(unusable)
    for plan in plans:
        for item in importer.read(plan):
            found.append(
                item
                if isinstance(item, Unusable)
                else (item.where, item.units, item.jpeg, item.crop_240, item.landmarks.tobytes())
            )
    return found

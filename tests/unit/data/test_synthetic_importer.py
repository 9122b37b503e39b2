import pickle

import numpy as np
import pytest

from aufleet.data.decoding import decode_frame
from aufleet.data.importers import IMPORTERS, Importer
from aufleet.data.importers.synthetic import SOURCES, SyntheticImporter
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import PRESETS, SyntheticSettings, render_subject
from aufleet.domain.folds import BP4D_PARTS, split_by_subject
from aufleet.errors import ConfigError


def frames_of(importer: Importer, place: int) -> list[FrameRecord]:
    plans, unusable = importer.plan()
    assert not unusable
    records = list(importer.read(plans[place]))
    assert all(isinstance(record, FrameRecord) for record in records)
    return [record for record in records if isinstance(record, FrameRecord)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_preset_plans_what_it_then_renders(source: str) -> None:
    importer = pickle.loads(pickle.dumps(IMPORTERS["synthetic"](source, subjects=6, frames=2)))
    plans, _ = importer.plan()
    assert len({plan.subject for plan in plans}) == 6
    records = frames_of(importer, 5)
    assert len(records) == plans[5].num_frames == 2
    for record in records:
        assert record.subject == plans[5].subject
        assert len(record.units) == len(importer.units)
    strata = {plan.subject: "" for plan in plans}
    assert len(split_by_subject(strata, seed=0, parts=importer.parts)) == 3


def test_without_sizes_a_preset_is_as_large_as_its_data_set() -> None:
    plans, _ = SyntheticImporter("bp4d").plan()
    assert {plan.subject for plan in plans} == {name for part in BP4D_PARTS for name in part}
    assert sum(plan.num_frames for plan in plans) == 146_862
    assert len(SyntheticImporter("fpara").plan()[0]) == PRESETS["fpara"].num_subjects
    assert SyntheticImporter("fpara").parts is None


@pytest.mark.parametrize(("source", "palsy"), [("faces", False), ("palsy", True)])
def test_faces_are_those_of_data_synth(source: str, palsy: bool) -> None:
    settings = SyntheticSettings(num_subjects=6, frames_per_subject=3, seed=2, palsy=palsy)
    name, expected = render_subject(settings, 4)
    imported = frames_of(SyntheticImporter(source, subjects=6, frames=3, seed=2), 4)
    assert [record.jpeg for record in imported] == [record.jpeg for record in expected]
    assert [record.units for record in imported] == [record.units for record in expected]
    assert {record.subject for record in imported} == {name}


def test_reading_is_a_stream_that_renders_as_it_is_asked() -> None:
    importer = SyntheticImporter("bp4d", frames=4000)
    first = next(iter(importer.read(importer.plan()[0][0])))
    assert isinstance(first, FrameRecord)
    assert (first.subject, first.sequence, first.frame) == ("F001", "T1", 1)


def test_the_description_tells_imports_apart() -> None:
    described = [
        SyntheticImporter("bp4d").describe(),
        SyntheticImporter("bp4d", seed=1).describe(),
        SyntheticImporter("bp4d", subjects=40).describe(),
        SyntheticImporter("bp4d", frames=40).describe(),
        SyntheticImporter("disfa").describe(),
    ]
    assert len(set(described)) == len(described)
    assert described[0] == 'synthetic bp4d {"subjects": 41, "frames": 3582, "seed": 0}'
    assert SyntheticImporter("bp4d", subjects=41).describe() == described[0]


def test_a_crop_for_lpnet_is_cut_on_request_and_changes_nothing_else() -> None:
    with_crop = SyntheticImporter("fpara", subjects=6, frames=2, crop="lpnet")
    plain = SyntheticImporter("fpara", subjects=6, frames=2)
    assert with_crop.describe() != plain.describe()
    for record, expected in zip(frames_of(with_crop, 0), frames_of(plain, 0), strict=True):
        assert (record.jpeg, expected.crop_240) == (expected.jpeg, None)
        assert record.crop_240 is not None
        crop = decode_frame(record.crop_240)
        assert crop.shape == (240, 240, 3)
        corners = [crop[:20, :20], crop[:20, -20:], crop[-20:, :20], crop[-20:, -20:]]
        assert max(corner.max() for corner in corners) < 20, "black outside of the face"
        assert crop[60:200, 80:160].mean() > 20


def test_women_of_bp4d_have_no_beards() -> None:
    from aufleet.data.synthetic.identity import draw_identity

    drawn = [draw_identity(np.random.default_rng(seed), male=False) for seed in range(30)]
    assert {identity.beard for identity in drawn} == {0.0}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("ck", {}, "no synthetic data set 'ck'.*bp4d, disfa, fpara, faces, palsy"),
        ("bp4d", {"subjects": 0}, "0 subjects"),
        ("bp4d", {"frames": 0}, "0 frames"),
        ("bp4d", {"crop": "ellipse"}, "crop cannot be 'ellipse'"),
        ("disfa", {"seed": -1}, "seed is -1"),
        ("disfa", {"examinations": 2}, "nobody is examined in disfa"),
        ("faces", {"examinations": 2}, "nobody is examined in faces"),
        ("fpara", {"examinations": 0}, "0 examinations"),
        ("faces", {"frames": 0}, "frames_per_subject is 0"),
    ],
)
def test_what_cannot_be_rendered_is_refused(source: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SyntheticImporter(source, **options)

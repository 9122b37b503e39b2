from dataclasses import replace

import numpy as np
import pytest

from aufleet.data.dataset import open_dataset
from aufleet.data.forget import delete_subject
from aufleet.data.inspection import read_facts, render_page
from aufleet.data.inspection.samples import shown_subjects
from aufleet.data.publish import publish_dataset


def test_facts_are_those_of_a_plain_count(dataset, subjects) -> None:
    heard: list[int] = []

    facts = read_facts(dataset, progress=heard.append)

    labels = np.array([record.units for _, records in subjects for record in records])
    assert facts.num_frames == len(labels) == sum(heard)
    assert facts.active.tolist() == (labels == 1).sum(axis=0).tolist()
    assert facts.coded.tolist() == [len(labels), len(labels), 0]
    assert facts.together[0, 1] == ((labels[:, 0] == 1) & (labels[:, 1] == 1)).sum()
    assert facts.coded_together[1].tolist() == [len(labels), len(labels), 0]
    assert facts.intensities.sum() == 0
    assert facts.landmark_sources == {"exact": len(labels)}
    assert facts.sequences == 9


def test_a_few_frames_show_every_label_and_are_the_same_each_time(dataset) -> None:
    first, second = read_facts(dataset).samples, read_facts(dataset).samples

    assert len(first) == 24
    assert {label for sample in first for label in sample.labels} == {"AU1", "AU2"}
    assert len({(sample.subject, sample.frame) for sample in first}) == 24
    assert len({sample.subject for sample in first}) == 9
    assert [sample.jpeg for sample in first] == [sample.jpeg for sample in second]


@pytest.mark.parametrize(("total", "shown"), [(1, 1), (6, 6), (24, 24), (500, 24)])
def test_shown_subjects_are_spread_evenly(total, shown) -> None:
    names = [f"S{number:03d}" for number in range(total)]

    chosen = shown_subjects(names)

    assert len(chosen) == shown
    assert sum(chosen.values()) == 24
    assert names[0] in chosen
    assert names[-1] in chosen


def test_a_data_set_of_grades_alone_has_a_page(make_record, spec, store) -> None:
    subjects = [
        (
            f"S{number}",
            [make_record(f"S{number}", 1, units=(), house_brackmann=4, grade=2, side="left")],
        )
        for number in range(6)
    ]
    publish_dataset(subjects, spec=replace(spec, units=()), store=store)
    dataset = open_dataset(store.uri_of(spec.prefix))

    page = render_page(dataset, read_facts(dataset))

    assert "medium" in page
    assert "Action units" not in page
    assert "Together" not in page


def test_a_page_of_a_version_that_lost_a_subject_shows_the_others(dataset) -> None:
    delete_subject(dataset.store, subject="S4", successor="elsewhere")

    page = render_page(dataset, read_facts(dataset))

    assert 'alt="S4,' not in page
    assert 'alt="S5,' in page
    assert "deleted from this version: 1." in page

"""What keeps a version from an alias."""

import pytest

from aufleet.errors import ConfigError
from aufleet.registry.card import FoldScore
from aufleet.registry.gates import Gates, Standing, failures, own_standing, shared_standings
from aufleet.tuning.promotion import AliasRequest

CHAMPION = Standing(f1={"AU1": 0.6, "AU12": 0.8})


def scored(card, *, part="validation", folds=(1, 2), f1=0.5, kappa=None, manifest="0" * 64):
    scores = tuple(
        FoldScore.model_validate(
            {
                **{"fold": fold, "part": part, "macro_f1": f1, "kappa": kappa},
                **{"per_label": {"AU1": f1 + fold / 100}, "constant": {}},
            }
        )
        for fold in folds
    )
    dataset = card.dataset.model_copy(update={"manifest_sha256": manifest})
    return card.model_copy(update={"scores": scores, "dataset": dataset})


@pytest.mark.parametrize(
    ("gates", "version", "words"),
    [
        (Gates(), Standing(f1={"AU1": 0.56, "AU12": 0.9}), []),
        (Gates(), Standing(f1={"AU1": 0.54, "AU12": 0.9}), ["AU1 is 0.540, the champion's 0.600"]),
        (Gates(max_drop=0.1), Standing(f1={"AU1": 0.54, "AU12": 0.9}), []),
        (Gates(), Standing(f1={"AU1": 0.9}), ["AU12 is not answered"]),
        (Gates(min_f1=0.7), Standing(f1={"AU1": 0.6, "AU12": 0.9}), ["AU1 is 0.600, at least 0.7"]),
        (Gates(max_ms=20), Standing(f1=CHAMPION.f1, ms=25.0), ["takes 25.0 ms, at most 20"]),
        (Gates(max_ms=20), Standing(f1=CHAMPION.f1, ms=15.0), []),
        (Gates(min_kappa=0.5), CHAMPION, ["kappa is not known, at least 0.5"]),
        (
            Gates(min_f1=0.5),
            Standing(f1={"AU1": 0.2, "AU12": 0.3}),
            [
                "AU1 is 0.200, at least",
                "AU12 is 0.300, at least",
                "champion's 0.6",
                "champion's 0.8",
            ],
        ),
    ],
)
def test_every_shut_gate_is_named(gates, version, words):
    found = failures(gates, version, champion=CHAMPION)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


@pytest.mark.parametrize(("kappa", "shut"), [(0.75, 0), (0.66, 0), (0.64, 1), (0.3, 2)])
def test_a_grader_is_held_to_its_kappa(kappa, shut):
    champion = Standing(f1={"low": 0.5}, kappa=0.7)
    version = Standing(f1={"low": 0.5}, kappa=kappa)
    assert len(failures(Gates(min_kappa=0.5), version, champion=champion)) == shut


def test_the_first_version_has_only_the_bounds_to_meet():
    version = Standing(f1={"AU1": 0.1})
    assert failures(Gates(), version, champion=None) == []
    assert len(failures(Gates(min_f1=0.2), version, champion=None)) == 1


def test_versions_are_compared_on_the_folds_that_both_were_scored_on(card):
    ensemble, single = scored(card), scored(card, folds=(2,), f1=0.4)
    shared = shared_standings(ensemble, single)
    assert shared is not None
    assert [one.f1["AU1"] for one in shared] == pytest.approx([0.52, 0.42])


@pytest.mark.parametrize("other", [{"part": "test"}, {"folds": (3,)}, {"manifest": "1" * 64}])
def test_scores_of_other_frames_do_not_compare(card, other):
    assert shared_standings(scored(card), scored(card, **other)) is None


def test_a_version_stands_by_its_test_parts_where_they_were_scored(card):
    both = scored(card, f1=0.5, kappa=0.6)
    tested = scored(card, part="test", f1=0.3, kappa=0.2)
    assert own_standing(both).kappa == pytest.approx(0.6)
    both = both.model_copy(update={"scores": both.scores + tested.scores})
    assert own_standing(both).f1["AU1"] == pytest.approx(0.315)
    assert own_standing(both).kappa == pytest.approx(0.2)


def test_force_needs_a_reason():
    with pytest.raises(ConfigError, match="force needs a reason"):
        AliasRequest(force=True)
    assert AliasRequest(force=True, reason="the clinic waits").force

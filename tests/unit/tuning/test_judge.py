"""Who is given up, and why: compared with a plain statement of the rules."""

from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet.tuning.judge import ENDED, Judge, Member, Rules
from aufleet.tuning.rung_table import RungTable

FEW = settings(max_examples=40, deadline=None, derandomize=True)

FOLDS = (1, 2, 3)
# Sixteenths: sums and means over three folds compare exactly enough to be told apart.
SCORES = st.integers(min_value=0, max_value=16).map(lambda number: number / 16)
ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(FOLDS), SCORES),
    unique_by=lambda one: one[:2],
    max_size=18,
)


def member(name: str, bracket: str = "algrnet") -> Member:
    return Member(bracket=bracket, config_id=name)


def table_of(arrivals, *, caution=0.0) -> RungTable[str]:
    table = RungTable[str](num_folds=3, caution=caution)
    for name, fold, score in arrivals:
        table.add(name, fold=fold, score=score)
    return table


def judge_of(kind="asha", **settings) -> Judge:
    return Judge(rules=Rules(kind=kind, num_folds=3, **settings))


@FEW
@given(ARRIVALS)
def test_a_standing_is_that_of_all_pairs_on_the_folds_that_both_have(arrivals):
    table = table_of(arrivals, caution=1.0)
    scores = {name: dict(table.scores_of(name)) for name in table.configurations}
    for name, mine in scores.items():
        compared = better = 0
        for other, theirs in scores.items():
            shared = mine.keys() & theirs.keys()
            if other == name or not shared or (margin := table.margin(len(shared))) is None:
                continue
            compared += 1
            gap = fmean(theirs[fold] for fold in shared) - fmean(mine[fold] for fold in shared)
            better += gap > margin + 1e-9
        standing = table.standing(name)
        assert standing
        assert (standing.compared, standing.better) == (compared, better)


@FEW
@given(ARRIVALS, st.randoms(use_true_random=False))
def test_a_table_says_the_same_whatever_came_first_and_however_often(arrivals, rng):
    shuffled = [*arrivals, *arrivals]
    rng.shuffle(shuffled)
    first, second = table_of(arrivals, caution=1.0), table_of(shuffled, caution=1.0)
    for name in first.configurations:
        assert first.standing(name) == second.standing(name)


@FEW
@given(ARRIVALS, st.sampled_from(FOLDS), st.sampled_from((-0.5, 0.25)))
def test_a_fold_that_is_harder_for_everybody_favours_nobody(arrivals, hard, by):
    moved = [(name, fold, score + by * (fold == hard)) for name, fold, score in arrivals]
    first, second = table_of(arrivals), table_of(moved)
    for name in first.configurations:
        before, after = first.standing(name), second.standing(name)
        assert before
        assert after
        assert (before.compared, before.better) == (after.compared, after.better)


@FEW
@given(ARRIVALS)
def test_a_known_score_stands(arrivals):
    table = table_of(arrivals)
    for name, fold, score in arrivals:
        assert not table.add(name, fold=fold, score=score + 1)
        assert table.scores_of(name)[fold] == score


@FEW
@given(st.lists(st.lists(SCORES, min_size=3, max_size=3), min_size=1, max_size=12))
def test_the_best_mean_of_all_folds_is_never_given_up_at_a_rung(rows):
    judge = judge_of(grace=1, forgiving_from=9)
    for index, scores in enumerate(rows):
        for fold, score in zip(FOLDS, scores, strict=True):
            judge.add(member(str(index)), fold=fold, epoch=1, score=score)
    best = max(range(len(rows)), key=lambda index: sum(rows[index]))
    assert judge.verdict(member(str(best))) is None


@FEW
@given(ARRIVALS, ARRIVALS)
def test_brackets_know_nothing_of_each_other(mine, theirs):
    alone, both = judge_of(grace=1), judge_of(grace=1)
    for name, fold, score in mine:
        alone.add(member(name), fold=fold, epoch=1, score=score)
        both.add(member(name), fold=fold, epoch=1, score=score)
    for name, fold, score in theirs:
        both.add(member(name, "lgrnet"), fold=fold, epoch=1, score=score)
    for name in "abcdef":
        assert alone.verdict(member(name)) == both.verdict(member(name))


@pytest.mark.parametrize(
    ("given_rules", "rungs"),
    [
        ({"kind": "asha", "grace": 2, "reduction": 3}, [2, 6, 18]),
        ({"kind": "asha", "grace": 1, "reduction": 2}, [1, 2, 4, 8, 16]),
        ({"kind": "median", "grace": 5}, [5, 10, 15, 20]),
        ({"kind": "none"}, []),
    ],
)
def test_rungs(given_rules, rungs):
    rules = Rules(num_folds=3, **given_rules)
    assert [epoch for epoch in range(1, 21) if rules.is_rung(epoch)] == rungs


def whole_rung(judge, scores, *, epoch=1):
    for name, score in scores.items():
        for fold in FOLDS:
            judge.add(member(name), fold=fold, epoch=epoch, score=score)


def test_asha_keeps_the_best_third_and_the_median_rule_the_better_half():
    scores = {name: index / 10 for index, name in enumerate("abcdef")}
    asha, median = judge_of(grace=1), judge_of("median", grace=1)
    for judge, kept in ((asha, "ef"), (median, "def"), (judge_of("none"), "abcdef")):
        whole_rung(judge, scores)
        assert "".join(name for name in scores if judge.verdict(member(name)) is None) == kept


def test_the_first_to_arrive_is_judged_anew_when_others_have_come():
    judge = judge_of(grace=1)
    whole_rung(judge, {"a": 0.1})
    assert judge.verdict(member("a")) is None
    whole_rung(judge, {"b": 0.2})
    verdict = judge.verdict(member("a"))
    assert verdict
    assert str(verdict) == (
        "stopped at epoch 1 on folds 1, 2, 3: 1 of 1 others lead its mean F1 0.100"
    )


def test_one_fold_condemns_nobody_before_the_spread_between_folds_is_known():
    judge = judge_of(grace=1)
    judge.add(member("a"), fold=1, epoch=1, score=0.1)
    judge.add(member("b"), fold=1, epoch=1, score=0.9)
    assert judge.verdict(member("a")) is None
    whole_rung(judge, {"c": 0.8, "d": 0.7, "e": 0.75})
    assert judge.verdict(member("a"))


def test_a_lead_on_one_fold_counts_only_beyond_what_other_folds_may_add():
    rows = {"c": (0.8, 0.7, 0.9), "d": (0.7, 0.8, 0.6), "e": (0.9, 0.8, 0.7)}
    careful, careless = judge_of(grace=1, caution=2.0), judge_of(grace=1, caution=0.0)
    for judge in (careful, careless):
        for name, scores in rows.items():
            for fold, score in zip(FOLDS, scores, strict=True):
                judge.add(member(name), fold=fold, epoch=1, score=score)
        judge.add(member("a"), fold=1, epoch=1, score=0.65)
    assert careless.verdict(member("a"))
    assert careful.verdict(member("a")) is None


def test_a_later_fold_is_judged_at_its_own_rung_while_the_first_is_far_ahead():
    judge = judge_of(grace=1, caution=0.0)
    for epoch in (1, 3):
        whole_rung(judge, {"a": 0.9}, epoch=epoch)
        judge.add(member("b"), fold=1, epoch=epoch, score=0.95)
    assert judge.verdict(member("b")) is None
    judge.add(member("b"), fold=2, epoch=1, score=0.1)
    verdict = judge.verdict(member("b"))
    assert verdict
    assert (verdict.epoch, verdict.folds) == (1, (1, 2))


def test_the_spread_of_an_earlier_rung_serves_until_a_later_one_has_its_own():
    judge = judge_of(grace=1)
    whole_rung(judge, {"a": 0.8, "b": 0.7, "c": 0.1}, epoch=1)
    for name, score in (("a", 0.8), ("b", 0.1)):
        judge.add(member(name), fold=1, epoch=3, score=score)
    verdict = judge.verdict(member("b"))
    assert verdict
    assert (verdict.epoch, verdict.folds) == (3, (1,))


def test_a_rung_that_all_folds_have_passed_counts_no_more():
    judge = judge_of(grace=1)
    whole_rung(judge, {"slow": 0.1, "fast": 0.5}, epoch=1)
    whole_rung(judge, {"slow": 0.6}, epoch=3)
    assert judge.verdict(member("slow")) is None
    whole_rung(judge, {"fast": 0.5}, epoch=3)
    assert judge.verdict(member("slow")) is None
    assert judge.verdict(member("fast"))


def finish(judge, name, scores):
    for fold, score in zip(FOLDS, scores, strict=False):
        judge.finish(member(name), fold=fold, score=score)


def test_the_forgiving_rule_compares_ended_folds_with_the_incumbent_s_worst_of_them():
    judge = judge_of("median", min_compared=99)
    finish(judge, "incumbent", (0.6, 0.5, 0.2))
    finish(judge, "lives", (0.4, 0.6))
    finish(judge, "dies", (0.4, 0.59))
    finish(judge, "young", (0.1,))
    assert judge.verdict(member("lives")) is None
    assert judge.verdict(member("young")) is None, "one fold has no worst"
    verdict = judge.verdict(member("dies"))
    assert verdict
    assert (verdict.rule, verdict.epoch, verdict.bound) == ("forgiving", ENDED, 0.5)
    assert str(verdict) == (
        "stopped at the end of folds 1, 2: mean F1 0.495 is below 0.500, the best "
        "configuration's worst of these folds"
    )


def test_an_ended_fold_that_leaves_no_way_to_the_top_ends_its_configuration():
    judge = judge_of(forgiving_from=9)
    whole_rung(judge, {"a": 0.5, "b": 0.4})
    for name, scores in {"best": (0.6, 0.62, 0.61), "second": (0.58, 0.61, 0.58)}.items():
        finish(judge, name, scores)
    finish(judge, "near", (0.59,))
    finish(judge, "far", (0.4,))
    assert judge.verdict(member("near")) is None
    verdict = judge.verdict(member("far"))
    assert verdict
    assert (verdict.rule, verdict.epoch, verdict.folds) == ("asha", ENDED, (1,))
    assert "from where the other folds can hardly make it the best" in str(verdict)
    finish(judge, "near", (0.59, 0.55))
    assert judge.verdict(member("near")), "two folds tell more than one"


def test_a_configuration_that_has_ended_whole_is_not_given_up():
    judge = judge_of()
    finish(judge, "a", (0.6, 0.6, 0.6))
    finish(judge, "b", (0.1, 0.1, 0.1))
    assert judge.verdict(member("b")) is None


def test_the_tables_show_every_configuration_at_every_rung():
    judge = judge_of(grace=1)
    whole_rung(judge, {"a": 0.1, "b": 0.2})
    finish(judge, "b", (0.3,))
    assert [(row.member.config_id, row.epoch, dict(row.scores)) for row in judge.rows()] == [
        ("a", 1, dict.fromkeys(FOLDS, 0.1)),
        ("b", 1, dict.fromkeys(FOLDS, 0.2)),
        ("b", ENDED, {1: 0.3}),
    ]

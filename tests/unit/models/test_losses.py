import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet_models.layers.losses import (
    alignment_loss,
    balance_weights,
    dice_loss,
    grade_cross_entropy,
    refinement_loss,
    unit_cross_entropy,
)

ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("truth", "guess", "loss"),
    [(0, 0.1, 0.0099), (0, 0.9, 0.4475), (1, 0.1, 0.4030), (1, 0.9, 0.0036)],
)
def test_dice_of_one_sample(truth: int, guess: float, loss: float) -> None:
    logits, units = torch.tensor([[guess]]).logit(), torch.tensor([[truth]])
    assert dice_loss(logits, units, weights=ONE).item() == pytest.approx(loss, abs=1e-4)


def test_the_printed_dice_never_pushes_a_negative_down() -> None:
    logits = torch.tensor([[0.1], [0.9]]).logit()
    absent, present = torch.zeros(2, 1), torch.ones(2, 1)
    assert dice_loss(logits, absent, weights=ONE, form="product").item() == pytest.approx(0)
    high = dice_loss(logits[1:], present[1:], weights=ONE, form="product")
    assert high.item() == pytest.approx(-0.547, abs=1e-3)


def test_the_published_code_takes_one_ratio_over_the_batch() -> None:
    guess = torch.tensor([[0.2], [0.7], [0.9]])
    units = torch.tensor([[0], [1], [9]])
    ratio = (2 * 0.7 + 1) / (0.2**2 + 1 + 0.7**2 + 1)
    loss = dice_loss(guess.logit(), units, weights=ONE, form="batch")
    assert loss.item() == pytest.approx(1 - ratio / 3, abs=1e-6)


def test_cross_entropy_of_log_odds_is_that_of_two_states() -> None:
    torch.manual_seed(0)
    states, units = torch.randn(4, 2, 3), torch.randint(0, 2, (4, 3))
    expected = torch.nn.functional.cross_entropy(states, units, reduction="none")
    weights = torch.tensor([1.0, 2.0, 3.0])
    loss = unit_cross_entropy(states[:, 1] - states[:, 0], units, weights=weights)
    torch.testing.assert_close(loss, (expected.mean(0) * weights).mean())


@pytest.mark.parametrize("form", [None, "sum", "product"])
def test_units_that_are_not_coded_do_not_count(form: str | None) -> None:
    torch.manual_seed(0)
    logits, units = torch.randn(4, 2, requires_grad=True), torch.randint(0, 2, (4, 2))
    units[2:, 0] = units[:, 1] = 9
    loss = unit_cross_entropy if form is None else lambda *a, **k: dice_loss(*a, **k, form=form)
    masked = loss(logits, units, weights=torch.ones(2))
    alone = loss(logits[:2, :1], units[:2, :1], weights=ONE)
    torch.testing.assert_close(masked, alone / 2)
    (gradient,) = torch.autograd.grad(masked, logits)
    assert gradient[2:].abs().max() == gradient[:, 1].abs().max() == 0


def test_grades_that_are_not_known_do_not_count() -> None:
    logits, weights = torch.randn(3, 4), torch.tensor([1.2452, 0.6640, 1.0226, 1.0683])
    grades = torch.tensor([2, 9, 9])
    expected = -weights[2] * logits[0].log_softmax(0)[2]
    torch.testing.assert_close(grade_cross_entropy(logits, grades, weights=weights), expected)
    assert grade_cross_entropy(logits, torch.full((3,), 9), weights=weights) == 0


def test_balance_weights_of_the_palsy_data() -> None:
    rates = torch.tensor([9049.0, 16970.0, 11019.0, 10547.0]) / 47585
    expected = torch.tensor([1.2452, 0.6640, 1.0226, 1.0683])
    torch.testing.assert_close(balance_weights(rates), expected, atol=1e-4, rtol=0)


@given(st.lists(st.just(0.0) | st.floats(1e-6, 1), min_size=1, max_size=15))
def test_balance_weights_sum_to_their_number(rates: list[float]) -> None:
    weights = balance_weights(torch.tensor(rates, dtype=torch.float64))
    assert weights.isfinite().all()
    assert weights.sum().item() == pytest.approx(len(rates))


def test_alignment_loss_of_zeros_on_the_template(face) -> None:
    loss = alignment_loss(torch.zeros_like(face), face)
    assert loss.item() == pytest.approx(87.885, abs=0.002)
    assert alignment_loss(face, face) == 0


def test_a_face_without_eyes_apart_is_an_error(face) -> None:
    together = face.clone()
    together[:, 25:31] = together[:, 19:25]
    missing = face.clone()
    missing[0, 7, 1] = float("nan")
    apart = face.clone()
    apart[:, 25:31] = 3e38  # the square of the distance overflows
    for truth in (together, missing, apart):
        with pytest.raises(ValueError, match="true landmarks of sample 0"):
            alignment_loss(face, truth)


def test_refined_maps_are_judged_by_the_first_ones() -> None:
    drawn = torch.zeros(2, 3, 52, 52)
    drawn[:, 1] = 0.25
    drawn[1, 2, 0, 0] = 1.0  # the nearest pixel of the corner of the smaller map
    maps = torch.full((2, 3, 44, 44), 0.5)
    maps[:, 0] = 0.1
    maps[0, 1] = 0.8
    losses = [
        -math.log(0.9),
        (-0.25 * math.log(0.8) - 0.75 * math.log(0.2) - math.log(0.5)) / 2,
        -math.log(0.5),
    ]
    assert refinement_loss(maps, drawn).item() == pytest.approx(sum(losses), rel=1e-5)
    maps[1, 2, 0, 0] = 0.9
    losses[2] += (math.log(0.5) - math.log(0.9)) / (2 * 44 * 44)
    assert refinement_loss(maps, drawn).item() == pytest.approx(sum(losses), rel=1e-6)


def test_nearest_pixels_of_the_first_map_are_those_of_the_published_code() -> None:
    drawn = torch.arange(52.0).expand(1, 1, 52, 52) / 51
    targets = torch.tensor([math.floor(pixel * 52 / 44) for pixel in range(44)]) / 51
    maps = torch.full((1, 1, 44, 44), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(refinement_loss(maps, drawn), maps)
    # d/dq of the cross-entropy at q = 1/2 is 2 - 4 t.
    expected = ((2 - 4 * targets) / 44**2).expand(44, 44)
    # At every 11th pixel the quotient is whole, and rounding decides.
    sure = torch.arange(44) % 11 > 0
    torch.testing.assert_close(gradient[0, 0][:, sure], expected[:, sure])


numbers = st.floats(width=32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(
    st.lists(numbers, min_size=98, max_size=98),
    st.lists(finite, min_size=98, max_size=98),
    st.booleans(),
)
def test_any_landmarks_give_an_error_or_a_loss_that_is_a_number(truth, found, plausible) -> None:
    landmarks = torch.tensor(found).view(1, 49, 2)
    true = torch.tensor(truth).view(1, 49, 2)
    if plausible:
        landmarks, true = landmarks.clamp(-1e4, 1e4), true.clamp(-1e4, 1e4)
    try:
        loss = alignment_loss(landmarks, true)
    except ValueError as error:
        assert "true landmarks of sample 0" in str(error)  # noqa: PT017
    else:
        assert true.isfinite().all()
        assert not loss.isnan()


@settings(deadline=None)
@given(
    st.lists(finite, min_size=6, max_size=6),
    st.lists(st.sampled_from([0, 1, 9]), min_size=6, max_size=6),
    st.sampled_from(["sum", "product", "batch"]),
)
def test_any_answers_give_unit_losses_and_gradients_that_are_numbers(logits, units, form) -> None:
    answers = torch.tensor(logits).view(3, 2).requires_grad_()
    truth, weights = torch.tensor(units).view(3, 2), torch.tensor([0.5, 1.5])
    for loss in (
        unit_cross_entropy(answers.clamp(-1e30, 1e30), truth, weights=weights),
        dice_loss(answers, truth, weights=weights, form=form),
    ):
        (gradient,) = torch.autograd.grad(loss, answers)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient[truth == 9].abs().sum() == 0

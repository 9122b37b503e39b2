import asyncio
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from cards import a_card
from torch import nn

from aufleet.data.alignment import centre_crop, to_input
from aufleet.errors import FrameError, NotReadyError, PackageError
from aufleet.registry.card import Card
from aufleet.serving.analyzer import Analyzer
from aufleet_models.contract import Prediction

from .conftest import encode

CARD = a_card(name="plain", thresholds={"AU1": 0.4, "AU12": 0.6})


class MeanNetwork(nn.Module):
    """Answers the mean of a frame; sees landmarks in its corner and looks at its upper left."""

    def __init__(self):
        super().__init__()
        self.batch_sizes = []

    def __deepcopy__(self, memo):
        """Let the test see the calls of the copy that answers."""
        return self

    def forward(self, frames, landmarks=None):
        self.batch_sizes.append(len(frames))
        logits = frames.mean(dim=(2, 3))[:, :2]
        maps = torch.zeros(len(frames), 2, 44, 44)
        maps[:, 1, :22, :22] = 1.0
        return Prediction(
            logits=logits,
            probabilities=logits,
            landmarks=torch.zeros(len(frames), 49, 2),
            maps=maps,
        )


@dataclass
class PlainPackage:
    card: Card
    model: nn.Module


def open_analyzer(card=CARD, max_batch=4, num_points=0):
    threads = torch.get_num_threads()
    network = MeanNetwork()
    network.num_points = num_points
    analyzer = Analyzer(
        load=lambda _uri: PlainPackage(card=card, model=network),
        max_batch=max_batch,
        max_waiting=9,
        threads=threads,
    )
    asyncio.run(analyzer.open("store/plain"))
    return analyzer, network


class PalsyNetwork(nn.Module):
    """Has both further heads, trained or not."""

    def forward(self, frames, landmarks=None):
        grades = torch.full((len(frames), 4), 0.25)
        side = torch.tensor([[0.1, 0.8, 0.1]]).expand(len(frames), 3)
        return Prediction(
            logits=grades,
            probabilities=grades,
            side=side,
            regions=torch.full((len(frames), 12), 0.5),
        )


@pytest.mark.parametrize("trained", [(), ("side",), ("side", "regions")])
def test_only_heads_that_learned_from_labels_answer(trained):
    facts = {"task": "palsy", "units": (), "thresholds": {}, "trained_heads": trained}
    analyzer = Analyzer(
        load=lambda _uri: PlainPackage(card=CARD.model_copy(update=facts), model=PalsyNetwork()),
        max_batch=2,
        max_waiting=9,
        threads=torch.get_num_threads(),
    )
    asyncio.run(analyzer.open("store/plain"))
    told = asyncio.run(analyzer.describe())
    assert (told.has_side, told.has_regions) == ("side" in trained, "regions" in trained)
    frame = np.zeros((200, 200, 3), np.uint8)
    answers = asyncio.run(analyzer.analyze([frame], attention=False, timeout_s=9))
    assert (answers.side is not None, answers.regions is not None) == (
        "side" in trained,
        "regions" in trained,
    )


def test_it_tells_what_it_has_loaded():
    analyzer, _ = open_analyzer()
    facts = asyncio.run(analyzer.describe())
    assert (facts.task, facts.units, facts.thresholds) == ("au", (1, 12), (0.4, 0.6))
    assert not facts.has_side
    assert facts.num_outputs == 2


def test_a_spare_one_tells_that_it_has_no_package():
    analyzer = Analyzer(max_batch=4, max_waiting=9, threads=torch.get_num_threads())
    asyncio.run(analyzer.prepare())
    with pytest.raises(NotReadyError, match="no package yet"):
        asyncio.run(analyzer.describe())


def test_it_is_warm_before_the_first_caller_comes():
    assert open_analyzer(max_batch=4)[1].batch_sizes == [4, 1]


def test_the_network_sees_the_centre_crop_of_the_aligned_frame():
    frame = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    crop = to_input(centre_crop(frame)[None])
    analyzer, _ = open_analyzer()
    answers = asyncio.run(analyzer.analyze([frame, crop[0]], attention=False, timeout_s=5))
    expected = crop.mean(axis=(0, 2, 3))[:2]
    np.testing.assert_allclose(answers.probabilities, [expected, expected], rtol=1e-4)
    # Points of the crop are told in pixels of the aligned frame.
    np.testing.assert_array_equal(answers.landmarks, np.full((2, 49, 2), 12.0))


def test_faces_of_several_calls_share_a_batch():
    analyzer, network = open_analyzer(max_batch=4)
    frame = np.zeros((200, 200, 3), dtype=np.uint8)

    async def scenario():
        calls = [analyzer.analyze([frame], attention=False, timeout_s=5) for _ in range(4)]
        await asyncio.gather(*calls)

    asyncio.run(scenario())
    assert network.batch_sizes[2:] == [4]


def test_an_encoded_aligned_frame_is_decoded():
    analyzer, _ = open_analyzer()
    grey = asyncio.run(analyzer.analyze_encoded(encode(200, 200), attention=False, timeout_s=5))
    np.testing.assert_allclose(grey.probabilities, [[90 / 127.5 - 1] * 2], rtol=1e-4)


@pytest.mark.parametrize("size", [(100, 100), (100, 400), (300, 300)])
def test_an_aligned_frame_of_another_size_is_refused(size):
    analyzer, _ = open_analyzer()
    with pytest.raises(FrameError):
        asyncio.run(analyzer.analyze_encoded(encode(*size), attention=False, timeout_s=5))


def test_attention_is_a_picture_of_the_aligned_frame():
    analyzer, _ = open_analyzer()
    frame = np.zeros((200, 200, 3), dtype=np.uint8)
    answers = asyncio.run(analyzer.analyze([frame], attention=True, timeout_s=5))
    picture = cv2.imdecode(np.frombuffer(answers.attention_png[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (200, 200)
    assert (picture[20, 20], picture[180, 180], picture[5, 5]) == (255, 0, 0)


def test_a_network_for_other_frames_is_refused():
    with pytest.raises(PackageError, match="takes crops of 224 pixels"):
        open_analyzer(card=CARD.model_copy(update={"frame_size": 224}))


def test_a_network_that_reads_landmarks_is_refused_with_a_sentence():
    with pytest.raises(PackageError, match="needs the landmarks of each face"):
        open_analyzer(num_points=49)

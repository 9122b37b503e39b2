"""`aufleet models show` on a synthetic portrait, with real packages and the catalog's networks."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from cards import a_package
from typer.testing import CliRunner, Result

from aufleet.cli.main import app
from aufleet.cli.models_show_answer import explain
from aufleet.cli.models_show_face import ShownFace, read_face
from aufleet.cli.models_show_network import FreshSettings, choose_member, open_network
from aufleet.errors import AufleetError
from aufleet.registry.card import DatasetReference
from aufleet.registry.package import load_package, write_package
from aufleet.registry.versions import Versions
from aufleet.storage import open_store
from aufleet.training import TrialConfig
from aufleet.training.checkpoints import Checkpoints
from aufleet.training.results import EpochReport
from aufleet_models import TrainingStatistics, build_model

UNITS = (1, 4, 12)
Show = Callable[..., Result]


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    from aufleet.data.synthetic.portrait import render_portrait

    file = tmp_path_factory.mktemp("portrait") / "portrait.png"
    frame = render_portrait(seed=11, intensities={12: 4}, size_px=320).frame
    cv2.imwrite(str(file), np.ascontiguousarray(frame[..., ::-1]))
    return file


@pytest.fixture(scope="session")
def face(portrait: Path) -> ShownFace:
    return read_face(portrait, aligned=False)


@pytest.fixture
def aligned(face: ShownFace, tmp_path: Path) -> Path:
    import cv2

    file = tmp_path / "aligned.png"
    cv2.imwrite(str(file), np.ascontiguousarray(face.frame[..., ::-1]))
    return file


@pytest.fixture(scope="session")
def networks() -> list:
    """Two members of MGRR-Net whose relations have left their priors."""
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = build_model("mgrrnet", task="au", units=UNITS, width=0.0625).eval()
        network.use_statistics(
            TrainingStatistics(agreement=torch.full((3, 3), 0.5 + seed / 10), mean_shape=None)
        )
        with torch.no_grad():
            for number, layer in enumerate(network.layers, start=1):
                layer.graph.adjacency.add_(0.1 * number * seed)
        made.append(network)
    return made


@pytest.fixture
def package(networks: list, tmp_path: Path) -> str:
    card, weights = a_package(
        {f"fold{number}": one.state_dict() for number, one in enumerate(networks, start=1)},
        networks[0].config,
        name="demo",
        kind="ensemble",
        units=UNITS,
        thresholds={"AU1": 0.0, "AU4": 1.0, "AU12": 0.0},
        temperature=2.0,
        dataset=DatasetReference(uri="s3://b/datasets/d/1", manifest_sha256="0" * 64),
        trials=("mgrrnet/0123456789/fold1",),
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return write_package(card, weights, root=open_store(str(tmp_path / "root")))


@pytest.fixture
def show(home: Path, portrait: Path, tmp_path: Path) -> Show:
    """Run the verb on the portrait; the picture goes to `seen.png`."""
    home.mkdir()
    given = {"--image": str(portrait), "--out": str(tmp_path / "seen.png")}

    def run(*arguments: str) -> Result:
        left = [
            part for flag, value in given.items() if flag not in arguments for part in (flag, value)
        ]
        return CliRunner().invoke(app, ["models", "show", *arguments, *left])

    return run


def _size_of(file: Path) -> tuple[int, int]:
    from aufleet.data.decoding import picture_size

    return picture_size(file.read_bytes())


def test_a_promoted_ensemble_is_drawn_with_its_own_probabilities(
    show: Show, package: str, face: ShownFace, tmp_path: Path
) -> None:
    versions = Versions()
    loaded = load_package(package)
    version = versions.register(loaded.card, package_uri=package)
    versions.set_alias("demo", version=version.version, alias="champion")
    answers = []
    for name in ("demo", "demo@champion", "demo:1", package):
        result = show(name, "--json")
        assert result.exit_code == 0, result.output
        answers.append(json.loads(result.stdout))
    first = answers[0]
    assert all(answer["probabilities"] == first["probabilities"] for answer in answers)
    frames = _input(face)
    with torch.no_grad():
        expected = loaded.model(frames).probabilities[0].tolist()
    assert list(first["probabilities"]) == ["AU1", "AU4", "AU12"]
    assert list(first["probabilities"].values()) == pytest.approx(expected, abs=1e-4)
    assert first["active"] == ["AU1", "AU12"]
    assert first["trained"]
    assert first["network"] == "demo:1 @champion"
    assert first["weights"] == "mean of fold1, fold2"
    assert first["panels"] == ["landmarks", "attention", "activation", "relations"]
    assert first["picture"] == str(tmp_path / "seen.png")
    width, height = _size_of(tmp_path / "seen.png")
    assert 800 <= width <= 1600
    assert 700 <= height <= 1800


def _input(face: ShownFace) -> torch.Tensor:
    from aufleet.data.alignment import centre_crop, to_input

    return torch.from_numpy(to_input(centre_crop(face.frame)[None]))


def test_relations_are_the_mean_of_the_members_or_those_of_one(
    package: str, networks: list, face: ShownFace, home: Path
) -> None:
    ensemble = open_network(package, fresh=FreshSettings())
    relations = explain(ensemble, face).relations
    assert relations is not None
    priors = torch.stack([one.prior for one in networks])
    learned = torch.stack([one.relations() for one in networks])
    np.testing.assert_allclose(relations.prior, priors.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(relations.learned, learned.mean(dim=0), atol=1e-6)
    second = explain(choose_member(ensemble, "fold2"), face)
    assert second.relations is not None
    np.testing.assert_allclose(second.relations.prior, priors[1], atol=1e-6)
    np.testing.assert_allclose(
        second.relations.learned - second.relations.prior,
        [np.full((3, 3), 0.2), np.full((3, 3), 0.4)],
        atol=1e-6,
    )


def test_landmarks_and_maps_lie_on_the_crop(face: ShownFace, home: Path) -> None:
    fresh = FreshSettings(units="AU12,AU1", width=0.0625)
    answer = explain(open_network("jaanet", fresh=fresh), face)
    assert answer.crop.shape == (176, 176, 3)
    assert answer.landmarks is not None
    assert answer.landmarks.shape == (49, 2)
    assert answer.found is not None
    # The eyes of an aligned crop are level, 13 to 55 pixels from its upper border.
    eyes = answer.found[19:31].mean(axis=0)
    assert abs(eyes[0] - 87.5) < 15
    assert 40 < eyes[1] < 70
    assert answer.attention is not None
    assert answer.attention.shape == (2, 44, 44)
    assert answer.activation.shape == (2, 176, 176)
    assert answer.relations is None


@pytest.mark.parametrize(
    ("arguments", "panels"),
    [
        (["mgrrnet", "--task", "palsy"], ["landmarks", "attention", "activation", "relations"]),
        (["resnet18", "--units", "AU1,AU12"], ["activation"]),
        (["lpnet", "--units", "AU12"], ["activation"]),
        (["medt", "--task", "palsy"], ["activation"]),
    ],
)
def test_untrained_networks_say_so_and_draw_what_they_have(
    show: Show, tmp_path: Path, arguments: list[str], panels: list[str]
) -> None:
    result = show(*arguments, "--width", "0.0625")
    assert result.exit_code == 0, result.output
    assert "untrained weights: nothing in the picture was learned" in result.stdout
    assert result.stdout.replace("\n", " ").rstrip().endswith(": " + ", ".join(panels))
    assert (tmp_path / "seen.png").exists()


def test_the_same_untrained_network_is_drawn_again(show: Show, tmp_path: Path) -> None:
    pictures = []
    for _ in range(2):
        assert show("lgrnet", "--units", "AU1,AU12", "--width", "0.0625").exit_code == 0
        pictures.append((tmp_path / "seen.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_an_aligned_frame_is_taken_as_it_is(
    show: Show, aligned: Path, face: ShownFace, tmp_path: Path
) -> None:
    assert np.array_equal(read_face(aligned, aligned=True).frame, face.frame)
    result = show("resnet18", "--width", "0.0625", "--image", str(aligned), "--aligned")
    assert result.exit_code == 0, result.output


def test_a_checkpoint_folder_is_drawn(show: Show, networks: list, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "trial"))
    config = TrialConfig(model="mgrrnet", dataset="d/1", fold=2, width=0.0625)
    report = EpochReport(
        epoch=3,
        train_loss=1.0,
        loss=1.0,
        score=0.5,
        per_label={},
        frames_per_s=1.0,
        seconds=1.0,
        learning_rate=0.01,
    )
    checkpoints = Checkpoints(store=store, config=config, network=networks[0].config)
    key = checkpoints.write(
        files={"model.safetensors": networks[0].state_dict()}, constant={}, reports=(report,)
    )
    for place in (store.uri_of(key), store.uri_of(f"{key}/model.safetensors")):
        result = show("--checkpoint", place, "--json")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["weights"] == "fold 2, epoch 3"
        assert list(answer["probabilities"]) == ["AU1", "AU4", "AU12"]
        assert "relations" in answer["panels"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mgrnet"], "there is no model 'mgrnet'.*networks of the catalog: algrnet, jaanet"),
        (["a:b:c"], "names no model"),
        (["resnet18", "--image", "away.png"], r"away.png cannot be read \(No such file"),
        (["resnet18", "--task", "palsy", "--units", "AU1"], "palsy network grades the face"),
        (["resnet18", "--units", "AU99"], "'AU99' is not an action unit"),
        (["resnet18", "--units", "AU1,AU1"], "give each of some of"),
        (["resnet18", "--width", "0"], "width is 0"),
        (["resnet18", "--member", "fold1"], "is one network alone"),
        (["resnet18", "--out", "seen.jpg"], "end it in .png"),
        (["resnet18", "--out", "/proc/seen.png"], "/proc/seen.png cannot be written"),
        (["resnet18", "--checkpoint", "x"], "one network is shown"),
        ([], "one network is shown"),
        (["--checkpoint", "nowhere/checkpoint-0001"], "there is no whole checkpoint at nowhere"),
        (["demo", "--units", "AU1"], "demo is a trained model and takes no --units"),
        (["resnet18", "--aligned"], "320 x 320 pixels, an aligned frame has 200 x 200"),
    ],
)
def test_wrong_input_is_one_clear_sentence(
    show: Show, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = show(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, AufleetError)
    result_words = str(result.exception)
    assert "\n" not in result_words
    with pytest.raises(AufleetError, match=words):
        raise result.exception


def test_pictures_without_a_face_are_refused(show: Show, tmp_path: Path) -> None:
    import cv2

    grey, words = tmp_path / "grey.png", tmp_path / "words.png"
    cv2.imwrite(str(grey), np.full((200, 200, 3), 128, np.uint8))
    words.write_text("no picture")
    for arguments, sentence in [
        (["resnet18", "--image", str(grey)], "no face was found in"),
        (["resnet18", "--image", str(words)], "the bytes are not a picture"),
        (["lpnet", "--image", str(grey), "--aligned", "--width", "0.0625"], "reads landmarks"),
    ]:
        result = show(*arguments)
        assert isinstance(result.exception, AufleetError)
        assert sentence in str(result.exception)
    assert not (tmp_path / "seen.png").exists()


def test_an_ensemble_names_its_members(show: Show, package: str) -> None:
    result = show(package, "--member", "fold9")
    assert "its members are fold1, fold2" in str(result.exception)

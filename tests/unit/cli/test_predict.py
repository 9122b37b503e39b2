"""`aufleet predict` against a small real server."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_pb2
from aufleet.cli.main import app
from aufleet.client import RejectedError
from aufleet.errors import ConfigError

Predict = Callable[..., Result]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    import cv2

    file = tmp_path / "photo.jpg"
    cv2.imwrite(str(file), np.full((60, 90, 3), 128, np.uint8))
    return file


@pytest.fixture
def predict(face_server, home: Path, photo: Path) -> Predict:
    """Run the verb on the photo where `.aufleet/serve.json` names the server."""
    home.mkdir()
    (home / "token").write_text("secret\n")
    place = {
        "target": face_server.target,
        "token_file": str(home / "token"),
        "ca_file": str(face_server.ca_file),
    }
    (home / "serve.json").write_text(json.dumps(place))
    return lambda *arguments: CliRunner().invoke(app, ["predict", str(photo), *arguments])


def test_units_as_json_have_the_promised_shape(predict: Predict, face_server) -> None:
    result = predict("--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "model": "demo",
        "version": "3",
        "request_id": "r1",
        "frames": [
            {
                "status": "OK",
                "faces": [
                    {
                        "box": [1, 2, 3, 4],
                        "landmarks": [[k, -k] for k in range(49)],
                        "units": {"AU12": {"probability": 0.75, "threshold": 0.5, "active": True}},
                    }
                ],
            }
        ],
    }
    assert face_server.metadata[0]["authorization"] == "Bearer secret"


def test_a_grade_as_json_has_the_promised_shape(predict: Predict, face_server) -> None:
    face = json.loads(predict("--task", "palsy", "--json").stdout)["frames"][0]["faces"][0]
    assert face["grade"] == "medium"
    assert face["probabilities"] == {"normal": 0.125, "low": 0.25, "medium": 0.5, "high": 0.125}
    assert [type(request) for request in face_server.requests] == [service.GradePalsyRequest]


def test_a_person_reads_names_bars_version_and_purpose(predict: Predict) -> None:
    answer = predict().stdout
    assert "photo.jpg  demo version 3, 5 ms" in answer
    assert "AU12    lip corner puller    ██████████████████       0.75  active" in answer
    assert "research use only, not a medical device" in answer


def test_a_person_reads_the_grades_with_their_scores(predict: Predict) -> None:
    answer = predict("--task", "palsy").stdout
    assert "medium  House-Brackmann 3-4  ████████████             0.50\n" in answer


def test_a_palsy_model_is_found_out_without_another_scope(predict: Predict, face_server) -> None:
    refusal = (grpc.StatusCode.FAILED_PRECONDITION, "model 'demo' answers palsy grades")
    face_server.failures = [refusal]
    assert "House-Brackmann" in predict("--model", "demo@champion").stdout
    kinds = [type(request) for request in face_server.requests]
    assert kinds == [service.DetectActionUnitsRequest, service.GradePalsyRequest]
    assert (face_server.requests[1].model, face_server.requests[1].version) == ("demo", "champion")


def test_a_task_that_was_asked_for_is_not_changed(predict: Predict, face_server) -> None:
    face_server.failures = [(grpc.StatusCode.FAILED_PRECONDITION, "answers palsy grades")]
    error = predict("--task", "au").exception
    assert isinstance(error, RejectedError)
    assert len(face_server.requests) == 1


def test_an_unknown_model_is_one_sentence(predict: Predict, face_server) -> None:
    face_server.failures = [(grpc.StatusCode.NOT_FOUND, "model 'x' is not served")] * 2
    assert str(predict("--model", "x").exception) == "model 'x' is not served"


def test_a_photo_without_a_face_is_an_answer(predict: Predict, face_server) -> None:
    face_server.status = face_pb2.FRAME_STATUS_NO_FACE
    result = predict()
    assert result.exit_code == 0
    assert "no face  nothing to see" in result.stdout
    frames = json.loads(predict("--json").stdout)["frames"]
    assert frames == [{"status": "NO_FACE", "faces": []}]


@pytest.mark.parametrize("arguments", [(), ("--task", "palsy")])
def test_the_answer_is_drawn(predict: Predict, tmp_path: Path, arguments) -> None:
    drawn = tmp_path / "new" / "answer.png"
    assert predict(*arguments, "--plot", str(drawn)).exit_code == 0
    header = drawn.read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert struct.unpack(">II", header[16:24]) == (1320, 648)


def test_an_answer_without_a_face_is_drawn_too(predict, face_server, tmp_path: Path) -> None:
    face_server.status = face_pb2.FRAME_STATUS_NO_FACE
    drawn = tmp_path / "answer.png"
    assert predict("--plot", str(drawn)).exit_code == 0
    assert drawn.exists()


def test_another_target_never_gets_this_folders_token(predict: Predict, face_server) -> None:
    error = predict("--target", "example.org:443").exception
    assert isinstance(error, ConfigError)
    assert str(error) == "no token for example.org:443 is named: give --token-file as well"
    assert face_server.requests == []


def test_where_no_service_is_known_it_says_how_to_name_one(home: Path, photo: Path) -> None:
    error = CliRunner().invoke(app, ["predict", str(photo)]).exception
    assert isinstance(error, ConfigError)
    assert "start aufleet serve, or give --target" in str(error)


def test_a_ready_file_that_says_nothing_is_named(predict: Predict, home: Path) -> None:
    (home / "serve.json").write_text("{}")
    assert "serve.json does not say where the service is" in str(predict().exception)

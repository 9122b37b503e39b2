"""`aufleet predict` against a small real server."""

import csv
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


@pytest.fixture
def run(predict: Predict) -> Predict:
    """Run the verb on anything; `predict` has named the server."""
    return lambda *arguments, **more: CliRunner().invoke(
        app, ["predict", *map(str, arguments)], **more
    )


@pytest.fixture
def folder(tmp_path: Path, photo: Path, video: Path) -> Path:
    below = tmp_path / "visit" / "day 2"
    below.mkdir(parents=True)
    for name in ("a.jpg", "b.JPG", "notes.txt"):
        (below / name).write_bytes(photo.read_bytes())
    (below.parent / "walk.mp4").write_bytes(video.read_bytes())
    return below.parent


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    import cv2

    file = tmp_path_factory.mktemp("video") / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (90, 60))
    for k in range(10):
        writer.write(np.full((60, 90, 3), 20 * k, np.uint8))
    writer.release()
    return file


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_is_answered_as_lines_of_json(run: Predict, folder: Path) -> None:
    result = run(folder, "--format", "jsonl")
    assert result.exit_code == 0, result.output
    lines = lines_of(result.stdout)
    names = [Path(line["source"]).name for line in lines]
    assert names == ["a.jpg", "b.JPG", *["walk.mp4"] * 10]
    assert lines[2]["time_s"] == 0.0
    assert lines[-1]["time_s"] == pytest.approx(0.9)
    assert lines[0]["faces"][0]["units"]["AU12"]["active"]
    assert {(line["model"], line["version"], line["research_use_only"]) for line in lines} == {
        ("demo", "3", True)
    }


def test_a_table_has_a_row_for_each_face(run: Predict, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "answers.csv"
    assert run(folder, "--out", out, "--rate", "5").exit_code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + 5
    assert rows[0]["AU12"] == "0.75"
    assert (rows[0]["AU12_active"], rows[0]["status"], rows[0]["width"]) == ("1", "OK", "3.0")
    assert [row["time_s"] for row in rows[:3]] == ["", "", "0.0"]


def test_a_table_of_grades_has_their_columns(run: Predict, photo: Path) -> None:
    text = run(photo, "--task", "palsy", "--format", "csv").stdout
    (row,) = csv.DictReader(text.splitlines())
    assert (row["grade"], row["medium"]) == ("medium", "0.5")


def test_a_table_without_a_face_still_has_its_rows(run: Predict, photo: Path, face_server) -> None:
    face_server.status = face_pb2.FRAME_STATUS_NO_FACE
    (row,) = csv.DictReader(run(photo, "--format", "csv").stdout.splitlines())
    assert (row["status"], row["message"]) == ("NO_FACE", "nothing to see")


def test_pictures_and_videos_are_drawn_into_a_folder(run, folder, tmp_path, monkeypatch) -> None:
    import cv2

    monkeypatch.chdir(tmp_path)
    assert run("visit", "--out", "drawn").exit_code == 0
    drawn = sorted(file.name for file in (tmp_path / "drawn").iterdir())
    assert drawn == [
        "visit-day 2-a-answer.png",
        "visit-day 2-b-answer.png",
        "visit-walk-answer.mp4",
    ]
    film = cv2.VideoCapture(str(tmp_path / "drawn" / "visit-walk-answer.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert film.get(cv2.CAP_PROP_FPS) == 10
    film.release()


def test_standard_input_is_a_picture_or_a_video(run: Predict, photo: Path, video: Path) -> None:
    picture = run("-", "--format", "jsonl", input=photo.read_bytes())
    assert [line["source"] for line in lines_of(picture.stdout)] == ["-"]
    film = run("-", "--format", "jsonl", input=video.read_bytes())
    assert len(lines_of(film.stdout)) == 10


def test_a_video_is_summed_up_for_a_person(run: Predict, video: Path) -> None:
    answer = run(video, "--smooth", "0.5").stdout
    assert "film.mp4  demo version 3, 10 frames" in answer
    assert "share of the 10 judged frames" in answer
    assert "AU12    lip corner puller    ████████████████████████ 1.00" in answer


def test_an_ungradable_face_says_why(predict: Predict, face_server) -> None:
    face_server.status = face_pb2.FRAME_STATUS_UNGRADABLE
    assert "ungradable (pose)  the head is turned too far" in predict("--task", "palsy").stdout
    frame = json.loads(predict("--task", "palsy", "--json").stdout)["frames"][0]
    assert (frame["status"], frame["ungradable_reason"]) == ("UNGRADABLE", "POSE")


def test_of_several_files_a_damaged_one_costs_itself_only(run, face_server, photo, tmp_path):
    other = tmp_path / "other.jpg"
    other.write_bytes(photo.read_bytes())
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "frames[0].encoded: the bytes are not a picture")
    face_server.failures = [refusal]
    result = run(photo, other, "--format", "jsonl")
    assert [line["status"] for line in lines_of(result.stdout)] == ["NOT_AN_IMAGE", "OK"]
    assert str(result.exception) == "1 of 2 files are no pictures that can be used"


WRONG = {
    "no file": (["missing.jpg"], "missing.jpg cannot be read: there is no such file or folder"),
    "empty folder": (["empty"], "empty holds neither pictures nor videos"),
    "nothing piped in": (["-"], "standard input is empty"),
    "piped in twice": (["-", "-"], "- is named twice"),
    "one drawing of two": (["p.jpg", "p.jpg", "--out", "x.png"], "--out x.png takes one picture"),
    "a film of a picture": (["p.jpg", "--out", "x.mp4"], "--out x.mp4 takes one video"),
    "an odd ending": (["p.jpg", "--out", "notes.txt"], "--out notes.txt is a file that cannot"),
    "a plot of a film": (["film.mp4", "--plot", "x.png"], "--plot draws one picture"),
    "no film": (["broken.mp4"], "broken.mp4 is no video that can be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_said_in_one_sentence(
    run, photo, video, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "p.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "film.mp4").write_bytes(video.read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    (tmp_path / "notes.txt").write_text("kept")
    arguments, words = WRONG[name]
    error = run(*arguments).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(words)
    assert (tmp_path / "notes.txt").read_text() == "kept"

import pytest

from aufleet.errors import InvalidRequestError, ModelNotFoundError, NotReadyError, WrongTaskError
from aufleet.serving.routing import Route, RoutingTable, ServedVersion


def route(name, version, *aliases, task="au"):
    return Route(
        name=name, version=version, aliases=aliases, task=task, application=f"{name}-{version}"
    )


TABLE = RoutingTable(
    [
        route("faces", "1"),
        route("faces", "2", "champion"),
        route("faces", "3", "candidate"),
        route("palsy", "7", task="palsy"),
    ]
)


@pytest.mark.parametrize(
    ("model", "version", "task", "found"),
    [
        ("faces", "", "au", "faces:2"),
        ("faces", "champion", "au", "faces:2"),
        ("faces", "candidate", "au", "faces:3"),
        ("faces", "1", "au", "faces:1"),
        ("", "", "au", "faces:2"),
        ("", "", "palsy", "palsy:7"),
        ("palsy", "", None, "palsy:7"),
    ],
)
def test_a_request_finds_its_version(model, version, task, found):
    assert TABLE.find(model=model, version=version, task=task).label == found


@pytest.mark.parametrize(
    ("model", "version", "task", "error", "words"),
    [
        ("other", "", "au", ModelNotFoundError, "'other' is not served: served: faces:1"),
        ("faces", "9", "au", ModelNotFoundError, "no served version or alias '9'"),
        ("palsy", "champion", "palsy", ModelNotFoundError, "no served version or alias"),
        ("palsy", "", "au", WrongTaskError, "answers palsy grades, not action units"),
        ("", "", None, InvalidRequestError, "name one of faces, palsy"),
    ],
)
def test_what_cannot_be_found_is_said_with_what_is_there(model, version, task, error, words):
    with pytest.raises(error, match=words):
        TABLE.find(model=model, version=version, task=task)


def test_a_version_whose_alias_has_moved_on_leaves_no_doubt():
    table = RoutingTable([route("faces", "1"), route("faces", "2", "candidate")])
    assert table.find(model="faces", version="").version == "2"


def test_a_task_that_nobody_answers_is_not_found():
    table = RoutingTable([route("faces", "1")])
    with pytest.raises(ModelNotFoundError, match="no served model answers palsy grades"):
        table.find(model="", version="", task="palsy")


def test_a_version_that_has_not_told_of_itself_is_not_ready():
    with pytest.raises(NotReadyError, match="faces:1 is not ready"):
        TABLE.facts_of(TABLE.routes[0])


def test_an_application_has_a_name_that_ray_accepts():
    version = ServedVersion(
        name="faces/ä b", version="1", aliases=(), task="au", package_uri="s3://x"
    )
    assert version.route().application == "model-faces_ä_b-1"

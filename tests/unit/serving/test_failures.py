from aufleet.serving.failures import reason_in

TRACE = """The deployment failed to start 1 times in a row. Error:
  File "package.py", line 90, in read_package
RuntimeError: Traceback (most recent call last):
aufleet.errors.ObjectCorruptError: bytes differ

During handling of the above exception, another exception occurred:

    aufleet.errors.PackageError: model.safetensors was changed: promote the model again
See the controller's log."""


def test_the_last_error_of_ours_is_the_reason():
    assert reason_in(TRACE) == (
        "PackageError",
        "model.safetensors was changed: promote the model again",
    )


def test_without_an_error_of_ours_there_is_no_reason():
    assert reason_in("the actor died: exit code 137") is None

"""Why a deployment did not start, in one sentence."""


def reason_in(message: str) -> tuple[str, str] | None:
    """Return the class and the words of the last error of ours in a replica's traceback.

    Serve only tells the text of the traceback; None where it holds no error of ours.
    """
    for line in reversed(message.splitlines()):
        name, colon, reason = line.strip().rpartition("aufleet.errors.")[2].partition(": ")
        if colon and name.isidentifier() and "aufleet.errors." in line:
            return name, reason
    return None

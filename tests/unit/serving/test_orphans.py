import subprocess
import sys
import time

import psutil

PROGRAM = """
import subprocess, sys
from aufleet.cli.orphans import no_orphans

with no_orphans():
    # A child that ends at once and leaves a grandchild behind.
    child = subprocess.run(
        ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"],
        stdout=subprocess.PIPE,
        text=True,
    )
    print(child.stdout.strip(), flush=True)
    if len(sys.argv) > 1:
        raise KeyboardInterrupt
"""


def test_a_grandchild_whose_parent_has_gone_is_stopped():
    for arguments in ([], ["interrupted"]):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
        )
        assert not psutil.pid_exists(int(done.stdout))
        assert time.monotonic() - began < 20

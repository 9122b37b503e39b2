"""Programs of callers, each run in a process of its own beside a service."""

import re
import subprocess
import sys
from pathlib import Path

from served import Service

TIMEOUT_S = 120
PAGE = Path(__file__).parents[1] / "docs" / "calling.md"
TRITON_CLIENT = """
import sys
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

target, token, ca_file, photo = sys.argv[1:]
client = InferenceServerClient(target, ssl=True, root_certificates=ca_file)
headers = {"authorization": f"Bearer {token}"}
assert client.is_server_live(headers=headers)
assert client.is_server_ready(headers=headers)
assert client.is_model_ready("faces", headers=headers)
assert not client.is_model_ready("nobody", headers=headers)
metadata = client.get_model_metadata("faces", headers=headers)
assert [each.name for each in metadata.inputs] == ["IMAGE", "FRAME"]

image = InferInput("IMAGE", [2], "BYTES")
image.set_data_from_numpy(np.array([open(photo, "rb").read(), b"no picture"], dtype=object))
result = client.infer("faces", [image], headers=headers)
assert result.as_numpy("PROBABILITY").shape == (2, 2)
assert result.as_numpy("LANDMARKS").shape == (2, 49, 2)
assert result.as_numpy("STATUS").tolist() == [1, 3]
assert np.isfinite(result.as_numpy("PROBABILITY")[0]).all()

frame = InferInput("FRAME", [3, 3, 176, 176], "FP32")
frame.set_data_from_numpy(np.zeros((3, 3, 176, 176), np.float32))
asked = [InferRequestedOutput("PROBABILITY")]
result = client.infer("palsy", [frame], outputs=asked, headers=headers)
np.testing.assert_allclose(result.as_numpy("PROBABILITY").sum(axis=1), 1, rtol=1e-5)
assert result.as_numpy("STATUS") is None
"""


def run_triton_client(service: Service, photo: Path) -> subprocess.CompletedProcess[str]:
    """Let the unchanged `tritonclient` ask; its descriptors and ours have the same names."""
    ca_file = service.home / "tls" / "ca.pem"
    arguments = (service.target, service.token, str(ca_file), str(photo))
    return _run("-W", "ignore", "-c", TRITON_CLIENT, *arguments, folder=photo.parent)


def run_examples(service: Service, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the examples of the page for callers in a folder that holds the pictures they name."""
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) >= 8
    (folder / ".aufleet").mkdir()
    (folder / ".aufleet" / "serve.json").write_text(service.ready_file.read_text())
    (folder / "examples.py").write_text("\n\n".join(examples))
    return _run("-W", "error", "examples.py", folder=folder)


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

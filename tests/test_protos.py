"""The wire contract: what is committed is what the protos say, and every element is explained."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROTOS = sorted(path.relative_to(ROOT / "protos") for path in (ROOT / "protos").rglob("*.proto"))


def test_generated_code_is_current(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos"]
    command += [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([*command, *map(str, PROTOS)], cwd=ROOT, check=True)
    generated = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(generated) == 3 * len(PROTOS)
    for path in generated:
        committed = ROOT / "platform" / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"run make protos: {committed} is stale"


@pytest.mark.parametrize("path", PROTOS, ids=str)
def test_every_element_of_the_wire_has_a_comment(path: Path) -> None:
    lines = (ROOT / "protos" / path).read_text().splitlines()
    for number, line in enumerate(lines):
        words = line.strip()
        declares = words.endswith("{") or (" = " in words and words.endswith(";"))
        if not declares or words.startswith(("//", "syntax", "package", "import")):
            continue
        assert lines[number - 1].strip().startswith("//"), f"{path}:{number + 1}: {words}"


def test_enums_begin_with_unspecified() -> None:
    from aufleet.api.v1 import face_pb2, model_pb2

    for module in (face_pb2, model_pb2):
        for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
            first = enum.values_by_number[0].name
            prefix = "".join("_" + c if c.isupper() else c.upper() for c in name).lstrip("_")
            assert first == f"{prefix}_UNSPECIFIED"


def test_every_response_says_who_answered() -> None:
    from aufleet.api.v1 import face_analysis_service_pb2 as service

    fields = {"model", "version", "request_id", "timings_ms", "research_use_only"}
    for name in ("DetectActionUnitsResponse", "GradePalsyResponse", "AnalyzeStreamResponse"):
        assert fields <= set(getattr(service, name).DESCRIPTOR.fields_by_name)
    for name in ("ListModelsResponse", "GetModelResponse"):
        response = getattr(service, name).DESCRIPTOR.fields_by_name
        assert {"request_id", "research_use_only"} <= set(response)


def test_open_inference_names_are_the_standard_ones() -> None:
    from aufleet.inference.v2 import open_inference_pb2 as oip

    service = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert {method.name for method in service.methods} == {
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
    }
    request = oip.ModelInferRequest.DESCRIPTOR.fields_by_name
    assert request["raw_input_contents"].number == 7
    assert oip.ModelInferResponse.DESCRIPTOR.fields_by_name["raw_output_contents"].number == 6

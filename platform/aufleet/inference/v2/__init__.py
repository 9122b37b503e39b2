"""The Open Inference Protocol v2, generated from protos/aufleet/inference/v2."""

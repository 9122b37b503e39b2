"""Version 1 of the gRPC interface, generated from protos/aufleet/api/v1."""

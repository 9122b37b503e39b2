"""aufleet trains, searches and serves facial action unit detectors and facial palsy graders.

The rooms, from the top; a room imports only from rooms below it (checked by import-linter):

    cli        one file per verb of the command line
    tuning     the search over models x folds x hyperparameters; ledger, leaderboard
    serving    the Ray Serve application behind gRPC: gateway, aligner, analyzer
    client     the Python client: grpc and protobuf only
    training   one trial: configuration, DeepSpeed engine, loop, metrics, checkpoints
    registry   model packages and their cards, versions, aliases
    data       data sets, faces, alignment, synthetic faces, loader
    storage    URIs and object stores: the only room that knows S3
    domain     action units, landmarks, folds, palsy grades: pure values
    api        generated from protos/aufleet/api
    inference  generated from protos/aufleet/inference: the Open Inference Protocol
    errors     every error, drawn as a tree

The networks live in a package of their own, `aufleet_models`, which knows nothing of these rooms.
"""

__version__ = "0.1.0"

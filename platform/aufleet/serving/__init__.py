"""The Ray Serve application behind gRPC: photos in, action units and palsy grades out.

client ── TLS + token ──> Gateway ──> Aligner (CPU) ──> Gateway ──> Analyzer, one per version

app                what is deployed and how it is stopped
config             limits and settings
deployments        what Ray Serve is told of each part
release_controller one actor that follows the registry; `releases` decides, `following` looks
failures           why a deployment did not start, in one sentence
environment        what Ray Serve must find in the environment before it starts
gateway            the deployment that holds the gRPC server
guard              what happens around every call: request id, token, deadline, log, codes
call               the call that is being answered: its id, its caller, its deadline
directory          the present routing table: kept, learned, shown as health
face_service       aufleet.api.v1.FaceAnalysisService
face_stream        one stream of it; frames are kept in order by `in_order`, smoothed by `smoothing`
inference_service  Open Inference Protocol v2; its tensors are in `tensors`
pipeline           one request's frames through aligner and analyzer
answers            from numbers to protobuf
routing            model names, versions and aliases -> who answers
replicas           calls from the gateway to the other deployments
lanes              the short way there within a node: UNIX sockets
workers            aligner and analyzer as Ray Serve runs them, with their lanes
aligner            the deployment that finds and aligns faces
gradability        whether a face may be judged: pose, blur, occlusion
analyzer           the deployment that runs a network; its batches are made in `batching`
package_cache      packages on this node, so that an analyzer starts without the store
exchange           the plain values that travel between the deployments
tokens, quotas     who may call, and how much
tls, credentials   an own authority; certificates in use, read again when they change
metrics            what a gateway counts, for Prometheus
port               where a server listens, and whether it can
private_files      files that only their owner reads
status             error -> gRPC code
access_log         one JSON line per call
"""

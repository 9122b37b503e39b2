"""The settings of serving and their defaults."""

from dataclasses import dataclass, field
from pathlib import Path

from aufleet.errors import ConfigError

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for; checked before anything is decoded."""

    max_message_bytes: int = 128 * MIB
    """The transport refuses larger messages by itself, as RESOURCE_EXHAUSTED."""
    max_metadata_bytes: int = 8192
    """Of one call, the token's included; the transport refuses eight times as much by itself."""
    max_request_bytes: int = 64 * MIB
    """All frames of a request together."""
    max_frame_bytes: int = 32 * MIB
    """One frame as it is sent."""
    max_frames: int = 64
    """Frames of one request."""
    max_pixels: int = 49_999_999
    """Pixels of one frame: from 50 megapixels on it is refused."""
    max_frames_at_once: int = 8
    """Frames of one request that are worked on at the same time, so that others get a turn."""
    max_calls: int = 256
    """Calls that one gateway answers at the same time; more are told to come again."""
    max_call_s: float = 60.0
    """Where the caller sets no deadline, or a later one; also for one frame of a stream."""
    max_streams: int = 64
    """Streams that one gateway answers at the same time, beside its calls."""
    max_stream_s: float = 3600.0
    """A stream ends after this time, as a call does after `max_call_s`; callers open another."""
    max_stream_idle_s: float = 60.0
    """A stream ends when its caller neither sends a frame nor takes an answer for this long."""
    max_stream_frames: int = 8
    """Frames of one stream that are under way; no further one is read until an answer is taken."""
    max_stream_frames_at_once: int = 16
    """Frames of all streams of one gateway that are worked on at the same time: so that calls get
    a turn between them."""
    max_stream_bytes: int = 32 * MIB
    """Once the frames under way of one stream are together this large, no further one is read."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Where the gateway listens and what it needs; paths, never contents, so no key travels."""

    token_file: Path
    """The hashed tokens."""
    certificate_file: Path
    """The server's certificate chain, PEM."""
    key_file: Path
    """Its private key, PEM."""
    client_ca_file: Path | None = None
    """With it callers need, besides a token, a certificate that one of these PEM has signed."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 0
    """0 takes a free one."""
    metrics_host: str = "127.0.0.1"
    """The address of the metrics."""
    metrics_ports: tuple[int, ...] = ()
    """Where Prometheus finds metrics, and nothing else: each gateway of a node takes one."""
    access_log: Path | None = None
    """One JSON line per call; None writes to standard error."""
    grace_s: float = 5.0
    """Calls in flight may still end for this long after a stop."""
    limits: Limits = field(default_factory=Limits)
    """What a request may ask for."""

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        for port in (self.port, *self.metrics_ports):
            if not 0 <= port <= 65535:
                raise ConfigError(f"port {port} does not exist", "ports are 0 to 65535")


@dataclass(frozen=True, kw_only=True)
class ReplicaSettings:
    """How many replicas run, and what each takes."""

    num_aligners: int = 1
    """Processes that find faces; one keeps one core busy."""
    num_analyzers: int = 1
    """Processes per model version."""
    num_gateways: int = 1
    """Processes that share one port on each of their nodes: two outlast the end of one."""
    cpus: float = 0.0
    """Cores that Ray reserves per aligner and analyzer; 0 shares the cores of one machine."""
    gpus: float = 0.0
    """GPUs that Ray reserves per analyzer."""
    max_batch: int = 16
    """Faces that an analyzer takes through its network at once."""
    max_waiting_photos: int = 64
    """That wait in one aligner; more are told to come again."""
    max_waiting_faces: int = 256
    """That wait in one analyzer; more are told to come again."""
    threads: int = 0
    """Threads of an analyzer's network; 0 shares the cores that it may use with the analyzers of
    all models, as if they were on its node."""
    num_models: int = 1
    """Models that are asked at the same time."""


@dataclass(frozen=True, kw_only=True)
class ReleaseSettings:
    """How the registry is followed."""

    registry_uri: str
    """MLflow's tracking URI."""
    references: tuple[str, ...] = ()
    """As `following` reads them; none for every model with an alias."""
    poll_s: float = 0.5
    """How often it is asked who has which alias."""
    keep_s: float = 300.0
    """A version that has lost its last alias stays loaded for this long: rolling back is immediate
    meanwhile, and callers who named its number are still answered."""
    num_spares: int = 1
    """Analyzers of a version that are started in advance and have everything but a package: the
    next version to be loaded takes them, and answers within seconds."""
    drain_s: float = 65.0
    """From when no new call finds a version until it is unloaded: longer than any call lasts."""
    first_retry_s: float = 10.0
    """Before a version that could not be loaded is tried again; doubled each time."""
    longest_retry_s: float = 300.0
    """No pause is longer."""

"""What the calls return: frozen dataclasses with the names of the protos."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels of the picture that was sent."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class UnitScore:
    """The answer for one action unit.

    Attributes:
        unit: FACS number, 12 for AU12.
        probability: Calibrated probability that the unit is active.
        threshold: The unit counts as active from this probability on.
        active: Whether it does.
    """

    unit: int
    probability: float
    threshold: float
    active: bool


@dataclass(frozen=True, kw_only=True)
class RegionValue:
    """Impairment of one region of the face, 0 to 1."""

    region: str
    impairment: float


@dataclass(frozen=True, kw_only=True)
class PalsyResult:
    """A palsy grade.

    Attributes:
        grade: "normal", "low", "medium" or "high".
        probabilities: Of each grade; they sum to 1.
        house_brackmann_min: Lowest House-Brackmann score of the grade.
        house_brackmann_max: Highest one.
        side: "none", "patient_left" or "patient_right"; None where the model cannot tell.
        regions: Empty where the model cannot tell.
    """

    grade: str
    probabilities: dict[str, float]
    house_brackmann_min: int
    house_brackmann_max: int
    side: str | None = None
    regions: tuple[RegionValue, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Face:
    """One face; landmarks are 49 points (x, y) in pixels of the picture.

    Attributes:
        ungradable_reason: "POSE", "BLUR" or "OCCLUSION" where it must not be judged: it has no
            units and no palsy then, unless the request asked for them all the same.
    """

    box: Box
    landmarks: tuple[tuple[float, float], ...]
    units: tuple[UnitScore, ...] = ()
    palsy: PalsyResult | None = None
    attention_png: bytes | None = None
    ungradable_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FrameResult:
    """The answer for one picture, and who gave it.

    Attributes:
        status: "OK", "NO_FACE", "NOT_AN_IMAGE", "TOO_MANY_PIXELS" or "UNGRADABLE".
        ungradable_reason: "POSE", "BLUR" or "OCCLUSION"; empty otherwise.
        message: One sentence where the status is not OK.
        timings_ms: Time per stage.
        research_use_only: Always true: not a medical device.
        time_s: Of a video's frame, since its start; None for a picture.
    """

    status: str
    model: str
    version: str
    request_id: str
    id: str = ""
    ungradable_reason: str = ""
    faces: tuple[Face, ...] = ()
    message: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    research_use_only: bool = True
    time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class SeriesResult:
    """The answers for several pictures of one patient.

    Attributes:
        pooled: The grade of all gradable pictures together; None where there is none.
        num_frames_used: Pictures that it rests on.
    """

    frames: tuple[FrameResult, ...]
    pooled: PalsyResult | None
    num_frames_used: int


@dataclass(frozen=True, kw_only=True)
class Model:
    """A served model version."""

    name: str
    version: str
    task: str
    architecture: str
    aliases: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    digest: str = ""
    ready: bool = False
    has_side: bool = False
    has_regions: bool = False

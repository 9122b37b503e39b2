"""Aligner and analyzer as Ray Serve runs them: gateways of their node reach them over a lane."""

from typing import Any

from ray import serve

from aufleet.serving.aligner import Aligner
from aufleet.serving.analyzer import Analyzer
from aufleet.serving.lanes import Lane, lanes_folder, open_lane

LANE_GRACE_S = 5.0
"""How long the open calls of a replica that stops still have."""


class _Laned:
    """A replica with a lane."""

    _lane: Lane | None = None

    async def _open_lane(self) -> None:
        application = serve.get_replica_context().app_name
        self._lane = await open_lane(self, application=application, folder=lanes_folder())

    async def __del__(self) -> None:
        """Stop as Ray stops the replica: Ray does not know of the lane's calls."""
        if self._lane is not None:
            await self._lane.close(grace_s=LANE_GRACE_S)


# pyright: reportGeneralTypeIssues=false
# Serve awaits a constructor that is a coroutine; nothing else makes these.


class LanedAligner(Aligner, _Laned):
    """Finds and aligns the faces of photos."""

    async def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as Aligner's
        """Begin as an aligner does, then take calls."""
        super().__init__(**settings)
        await self._open_lane()


class LanedAnalyzer(Analyzer, _Laned):
    """Runs one model version."""

    async def __init__(self, package_uri: str, **settings: Any) -> None:  # noqa: ANN401 - as Analyzer's
        """Begin as an analyzer does, then take calls."""
        super().__init__(package_uri, **settings)
        await self._open_lane()

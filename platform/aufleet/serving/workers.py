"""Aligner and analyzer as Ray Serve runs them: gateways of their node reach them over a lane."""

from collections.abc import Mapping
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
    """Runs one model version, or waits for one."""

    async def reconfigure(self, config: Mapping[str, str]) -> None:
        """Take the package, then calls; Ray calls this at the start and when a spare gets one.

        Args:
            config: "package_uri"; empty for a spare, which waits.

        Raises:
            PackageError: It cannot be loaded.
        """
        if config["package_uri"]:
            await self.open(config["package_uri"])
            await self._open_lane()
        else:
            await self.prepare()

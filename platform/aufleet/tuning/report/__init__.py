"""The report of a search: one HTML page that needs nothing else.

content     what the ledger says, arranged for people
published   the papers' tables
importance  how much each setting matters
figures     curves, parallel coordinates, strips and bars, as SVG
tables      leaderboards, scores per unit, ablations, rungs, cost
page        all of it on one page
"""

from aufleet.tuning.report.content import read_content
from aufleet.tuning.report.page import render

__all__ = ["read_content", "render"]

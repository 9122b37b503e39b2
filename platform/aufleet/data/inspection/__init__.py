"""Looking into a data set: one page with its frames, labels, folds and what could not be used.

facts    counts over all frames, one partition in memory at a time
samples  a few frames that show as many different labels as possible
page     the HTML page: one file, no script, nothing fetched
parts    tables, bars and pictures of the page
"""

from aufleet.data.inspection.facts import DatasetFacts, read_facts
from aufleet.data.inspection.page import render_page

__all__ = ["DatasetFacts", "read_facts", "render_page"]

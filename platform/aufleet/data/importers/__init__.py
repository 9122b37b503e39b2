"""Importers: from a raw release to frames with labels, one subject at a time.

contract   what every importer is, what it yields, and how a frame that cannot be used is named

A new importer is one file and one line in the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from aufleet.data.importers.contract import Importer, Parts, SubjectPlan, Unusable

__all__ = ["IMPORTERS", "Importer", "Parts", "SubjectPlan", "Unusable"]

IMPORTERS: Mapping[str, Callable[..., Importer]] = MappingProxyType({})
"""Name -> what makes the importer from its source and its own keyword options.

`IMPORTERS["bp4d"]("s3://bucket/BP4D", crop="lpnet")`; an option that an importer does not have is
not in its signature.
"""

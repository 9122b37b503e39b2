"""Importers: from a raw release to frames with labels, one subject at a time.

    contract          what every importer is, what it yields, how an unusable frame is named
    reasons           why frames cannot be used
    source            the tree that is read: a folder or a prefix of an object store
    video             the frames of a video, also of a damaged one
    framing           from a photo to an aligned frame, landmarks and LP-Net's crop
    tables, cells     tables of labels, CSV or Parquet
    labelled_video    the records of one video of a table
    labelled_table    what importers share whose labels stand in one table
    release           what importers share of a release with fixed folds
    bp4d              BP4D; bp4d_labels and bp4d_landmarks read its files
    disfa             DISFA; disfa_labels and disfa_landmarks read its files
    fpara             graded examinations of facial palsy
    folder            a lab's own data; folder_table reads its table
    synthetic         faces that are rendered, in the shape of a published data set

A new importer is one file and one line in the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from aufleet.data.importers.bp4d import bp4d
from aufleet.data.importers.contract import Importer, Parts, SubjectPlan, Unusable
from aufleet.data.importers.disfa import disfa
from aufleet.data.importers.folder import folder
from aufleet.data.importers.folder_table import COLUMNS_HELP as FOLDER_COLUMNS
from aufleet.data.importers.fpara import COLUMNS_HELP as FPARA_COLUMNS
from aufleet.data.importers.fpara import fpara
from aufleet.data.importers.synthetic import SyntheticImporter

__all__ = [
    "FOLDER_COLUMNS",
    "FPARA_COLUMNS",
    "IMPORTERS",
    "Importer",
    "Parts",
    "SubjectPlan",
    "Unusable",
]

IMPORTERS: Mapping[str, Callable[..., Importer]] = MappingProxyType(
    {
        "bp4d": bp4d,
        "disfa": disfa,
        "fpara": fpara,
        "folder": folder,
        "synthetic": SyntheticImporter,
    }
)
"""Name -> what makes the importer from its source and its own keyword options.

`IMPORTERS["bp4d"]("s3://bucket/BP4D", crop="lpnet")`; an option that an importer does not have is
not in its signature.
"""

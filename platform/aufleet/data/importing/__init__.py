"""Importing: a raw release becomes a published data set, in parallel, and goes on after a kill.

pipeline  plan -> Ray Data, one task per subject -> receipts -> manifest
subject   what a task does: read one subject, store the partition, then the receipt
receipts  what is finished, by the identity of the import
"""

from aufleet.data.importing.pipeline import (
    ImportProgress,
    PlannedImport,
    import_dataset,
    plan_import,
    run_import,
)

__all__ = ["ImportProgress", "PlannedImport", "import_dataset", "plan_import", "run_import"]

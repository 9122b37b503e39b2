"""What importers share whose labels stand in one table: their options, and reading the table."""

from aufleet.data.importers.framing import CROPS, Crop, check_choice, digest_of_labels
from aufleet.data.importers.source import Source
from aufleet.data.importers.tables import Table, find_table, read_table


class TableImporter:
    """An importer of what one table of labels names; a subclass plans and reads."""

    def __init__(self, source: Source, *, labels: str, crop: Crop) -> None:
        check_choice("crop", crop, choices=CROPS)
        self._source, self._labels = source, labels
        self._digest = "unread"
        self._crop: Crop = crop

    def _read_table(self, *, default: str) -> Table:
        """Return the table, and note its digest.

        Args:
            default: Its name without suffix where the user names none.

        Raises:
            DataError: It is missing, or is no table.
        """
        path = find_table(self._source, named=self._labels, default=default)
        data = self._source.read(path)
        self._digest = digest_of_labels({path: data})
        return read_table(data, where=self._source.where(path))

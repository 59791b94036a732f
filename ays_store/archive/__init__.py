"""Archives: files that carry profiles and schedules from one installation to another.

JSON lines. The first says what the file is, the last what all others hash to; in between each table comes whole: its entry, its
profile, its schedules, their samples. Every line begins with the SHA-256 of the rest of it.
"""

from ays_store.archive.exporting import Exporter as Exporter
from ays_store.archive.importing import Imported as Imported
from ays_store.archive.importing import Importer as Importer
from ays_store.archive.lines import ArchiveError as ArchiveError

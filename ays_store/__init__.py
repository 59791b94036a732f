"""The store: records, results, models and workers in Redis, and the queue; the only thing that service and worker share."""

from ays_store.archive import ArchiveError as ArchiveError
from ays_store.archive import Imported as Imported
from ays_store.bounds import Bounds as Bounds
from ays_store.bounds import QueueFull as QueueFull
from ays_store.cells import Cell as Cell
from ays_store.cells import rank_of as rank_of
from ays_store.connect import connect as connect
from ays_store.damage import DamagedError as DamagedError
from ays_store.events import Entry as Entry
from ays_store.origin import Origin as Origin
from ays_store.queue import Queue as Queue
from ays_store.schema import SchemaError as SchemaError
from ays_store.shards import Measurement as Measurement
from ays_store.standing import Standing as Standing
from ays_store.stats import Stats as Stats
from ays_store.store import Store as Store
from ays_store.tables import Measured as Measured
from ays_store.workers import Worker as Worker

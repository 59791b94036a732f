"""The queue as workers see it: they take the job whose turn it is, not the one that has come first.

RQ's list carries deliveries in no order; `turns` says whose turn it is. A worker waits for RQ as ever, and changes what it got for what is
next. Both are in the list until one of them is taken, so that everything which looks after the list need not know of turns.
"""

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue as RQQueue

from ays_store.scripts import Script


class FairQueue(RQQueue):
    """A queue of RQ, as workers see it: what they take is not the head, but the job whose turn it is."""

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> tuple[str, bytes] | None:
        """Takes a job.

        Args:
            connection: A client.
            queue_key: The queue.
            timeout: Seconds to wait for one; None: not at all.

        Returns:
            The queue, and the id of the job in RQ; None when there is none.
        """
        taken = super().lmove(connection, queue_key, timeout)
        if taken is None:
            return None
        return queue_key, cls.exchange(connection, queue_key, taken[1])

    @staticmethod
    def exchange(connection: Redis, queue_key: str, taken: bytes) -> bytes:
        """Changes what was taken from the head for the job whose turn it is.

        Args:
            connection: A client.
            queue_key: The queue.
            taken: Its id in RQ.

        Returns:
            The id of the other in RQ; the same where there is none, or where nobody waits for it any more.
        """
        begun = IntermediateQueue.get_intermediate_queue_key(queue_key)
        return bytes(Script(connection, "queue/next")(queue_key, begun, taken))

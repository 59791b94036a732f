"""Turns: in which order the queue is served, so that nobody who asks for much delays those who ask for little.

A job waits with a number, its turn, and the smallest is served first. The jobs of one owner and one priority are a flow; each stands
the weight of its priority behind the one before it, and no earlier than one weight behind the job that was served last:

    turn = max(now, last turn of the flow) + weight,      now = the largest (turn - weight) of all jobs served

So flows take turns whatever their lengths: a job of an owner with nothing else in the queue comes before the second one of all others.
A batch flow gets one job for every eight of an interactive flow, which keeps it out of the way and from starving. It is start-time
fair queueing (Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996) with jobs for packets of equal length. A job that comes back
to the queue, because its worker died or ended, has the turn that it had.
"""

from ays_client.contract import Priority
from ays_store.origin import ANONYMOUS

WEIGHTS = {Priority.INTERACTIVE: 1, Priority.BATCH: 8}
"""Places in the queue that a job of a flow stands behind the one before it."""

CONSTANTS = f"""
local WEIGHTS = {{ {", ".join(f"{priority.value} = {weight}" for priority, weight in WEIGHTS.items())} }}
local INTERACTIVE, ANONYMOUS = '{Priority.INTERACTIVE.value}', '{ANONYMOUS}'
"""
"""The same for `lua/turns.lua`."""

"""The address of a schedule's content."""

from ays_client.contract import identity
from ays_client.formats import links


def addressed(schedule, **changes):
    """The schedule with some changes, under its own address."""
    content = schedule.model_copy(update={**changes, "id": "", "formats": {}})
    address = identity(content)
    return content.model_copy(update={"id": address, "formats": links(f"/v1/schedules/{address}", content)})

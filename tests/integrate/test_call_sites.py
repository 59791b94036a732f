"""Every call site evaluates the levels that it should: the table in docs/integrate.md, cell by cell."""

import pytest

from tests.integrate import call_sites
from tests.integrate.problems import schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

FOUND: dict[tuple[call_sites.Family, str, str], str] = {}


@pytest.mark.parametrize("key", list(call_sites.cells()), ids=lambda key: "-".join([key[0].stem, key[1], key[2]]))
def test_a_call_site_starts_where_it_would_and_goes_on_by_the_schedule(key):
    family, name, column = key
    wanted = schedule(kind=family.kind, solver=call_sites.solver_for(name))
    whole = [1000 * time for time in wanted.timesteps] if family.kind == "flow" else wanted.timesteps
    expected = whole
    if column != "text2img":
        start = call_sites.stock_start(family, name, column)
        expected = [start, *[time for time in whole if time < start]]
    if name == "HeunDiscreteScheduler":
        expected = [expected[0], *[time for time in expected[1:] for _ in range(2)]]
    found = call_sites.scheduled_times(family, name, column, wanted)
    # Flux rounds times to whole thousandths on their way to the network.
    assert found == pytest.approx(expected, abs=1.0 if family.stem == "Flux" else 2e-3)
    FOUND[key] = f"{len(found)} from {found[0]:.0f}"


def test_the_table_of_the_page_is_this_one():
    if set(FOUND) != set(call_sites.cells()):
        pytest.skip("the cells are found by the tests above")
    assert call_sites.table(FOUND) in call_sites.PAGE.read_text(), "python -m tests.integrate.call_sites writes it anew"

import pytest

from ays_store import SchemaError
from tests.store.archives import exported, fill


def test_a_store_gets_the_mark_of_its_version(store, redis):
    store.check_schema()
    store.check_schema()
    assert redis.get("ays:2:schema") == b"1"


def test_data_from_before_there_was_a_mark_is_of_the_first_version(store, redis):
    fill(store)
    before = exported(store)
    assert not redis.exists("ays:2:schema")
    store.check_schema()
    assert exported(store) == before


@pytest.mark.parametrize("found", [b"2", b"", b"\xff", b"1.5"])
def test_another_version_is_refused(store, redis, found):
    redis.set("ays:2:schema", found)
    with pytest.raises(SchemaError, match="expected 1; a newer version of this service wrote it: upgrade this one"):
        store.check_schema()

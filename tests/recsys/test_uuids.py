from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.uuids import hyphenated, versioned

octets = st.binary(min_size=16, max_size=16)


@given(octets)
def test_it_is_written_as_a_uuid_is(some: bytes) -> None:
    assert hyphenated(some) == str(uuid.UUID(bytes=some))


@pytest.mark.parametrize("version", [4, 5])
@given(octets)
def test_its_version_is_marked_as_a_uuids_is(version: int, some: bytes) -> None:
    assert versioned(some, version) == str(uuid.UUID(bytes=some, version=version))

from __future__ import annotations

import uuid

from recsys.uuids import hyphenated


def test_it_is_written_as_a_uuid_is():
    one = uuid.UUID("0123456789abcdef0123456789abcdef")
    assert hyphenated(one.hex) == str(one)

"""Requests taken apart by hand: the same as the generated classes read."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from server.pb import headrace_pb2 as pb
from server.plain_request import bytes_of_each, context_in, plain_request

texts = st.text(max_size=40)
contexts = st.none() | st.builds(pb.Context, market=texts, page_url=texts, age=st.integers(0, 2**32 - 1))
slots = st.builds(pb.Slot, name=texts, placement=texts, limit=st.integers(0, 300), exclude=st.lists(texts))
requests = st.builds(
    pb.GetBlocksRequest,
    anonymous_id=texts,
    user_id=texts,
    slots=st.lists(slots, max_size=3),
    at_least_as_fresh=texts,
    request_id=texts,
    render_id=st.text(max_size=40) | st.just("long" * 6000),
    context=contexts,
)


def as_read_by_classes(message: bytes) -> tuple[object, ...]:
    read = pb.GetBlocksRequest.FromString(message)
    named = [read.anonymous_id, read.user_id, read.at_least_as_fresh, read.request_id, read.render_id]
    return named, bytes_of_each(read.slots), context_in(read)


def as_read_here(message: bytes) -> tuple[object, ...]:
    read = plain_request(message)
    return list(read.texts), list(read.slots), read.context


@given(requests)
def test_a_request_reads_as_the_generated_classes_read_it(request: pb.GetBlocksRequest) -> None:
    message = request.SerializeToString()
    assert as_read_here(message) == as_read_by_classes(message)


@given(st.lists(requests, min_size=1, max_size=3), st.binary(max_size=3), st.integers(0, 200))
def test_so_do_requests_one_behind_the_other_cut_off_and_with_other_bytes(
    several: list[pb.GetBlocksRequest], added: bytes, cut: int
) -> None:
    """Protobuf joins messages that stand behind each other: the last text counts, contexts are merged."""
    message = b"".join([one.SerializeToString() for one in several])
    for whole in (message, message[:cut] + added + message[cut:], message[:cut]):
        try:
            expected = as_read_by_classes(whole)
        except DecodeError:
            continue  # what is refused is refused here or, inside of slots and contexts, by the checks
        read = plain_request(whole)
        inside = [pb.Slot.FromString(slot).SerializeToString() for slot in read.slots]
        context = read.context and pb.Context.FromString(read.context).SerializeToString()
        assert (list(read.texts), inside, context) == expected


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x0a\x85", b"\x0a\x02\xff\xfe", b"\x0a\x02ab\x99"]
)
def test_bytes_that_are_no_request_are_refused(message: bytes) -> None:
    with pytest.raises((DecodeError, UnicodeDecodeError)):
        plain_request(message)

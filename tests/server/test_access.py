"""Keys, TLS, health and reflection, by real clients."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from recsys.settings import SettingsError
from server.auth import Keys
from server.pb import headrace_pb2 as pb
from server.pb.headrace_pb2_grpc import HeadraceStub
from tests.fakes import MemoryStore
from tests.server.shop import Shop

READ, WRITE, ADMIN = "r" * 20, "w" * 20, "a" * 20
KEYS = {READ: "read", WRITE: "write", ADMIN: "admin"}
SLOTS = [pb.Slot(placement="home.hero")]
CALLS = {
    "GetBlocks": lambda client, metadata: client.GetBlocks(
        pb.GetBlocksRequest(slots=SLOTS), metadata=metadata
    ),
    "GetBlocksBulk": lambda client, metadata: list(
        client.GetBlocksBulk(
            pb.GetBlocksBulkRequest(slots=SLOTS, people=[pb.BulkPerson(user_id="u", render_id="r")]),
            metadata=metadata,
        )
    ),
    "GetBlocksPacks": lambda client, metadata: list(
        client.GetBlocksPacks(
            pb.GetBlocksBulkRequest(slots=SLOTS, people=[pb.BulkPerson(user_id="u", render_id="r")]),
            metadata=metadata,
        )
    ),
    "Track": lambda client, metadata: client.Track(pb.TrackRequest(events=[b"{}"]), metadata=metadata),
    "Explain": lambda client, metadata: client.Explain(pb.ExplainRequest(decision_id="x"), metadata=metadata),
}


def code_of(shop: Shop, rpc: str, authorization: str | None) -> grpc.StatusCode:
    metadata = None if authorization is None else (("authorization", authorization),)
    try:
        CALLS[rpc](shop.client, metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


class TestKeys:
    @pytest.fixture
    def shop(self, tmp_path: Path, store: MemoryStore):
        with Shop(tmp_path, store=store, keys=KEYS).open() as shop:
            yield shop

    @pytest.mark.parametrize("rpc", CALLS)
    @pytest.mark.parametrize(
        "authorization", [
            None, "", "Bearer", f"Bearer {'x' * 20}", READ, f"Bearer {READ}x", "Bearer é", f"Basic {READ}",
            f"Bearer {READ.upper()}",
        ],
    )  # fmt: skip
    def test_a_stranger(self, shop: Shop, rpc: str, authorization: str | None) -> None:
        encoded = authorization.encode("ascii", "ignore").decode() if authorization is not None else None
        assert code_of(shop, rpc, encoded) is grpc.StatusCode.UNAUTHENTICATED
        assert not shop.log.records

    @pytest.mark.parametrize("rpc", CALLS)
    def test_a_stranger_is_told_before_the_message_comes(self, shop: Shop, rpc: str) -> None:
        hold = Event()

        def never() -> Iterator[bytes]:
            hold.wait(20)
            yield b""

        call = shop.channel.stream_unary(f"/headrace.v1.Headrace/{rpc}").future(never(), timeout=10)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        hold.set()
        counted = {"rpc": rpc, "code": "UNAUTHENTICATED"}
        assert shop.registry.get_sample_value("headrace_requests_total", counted) == 1

    @pytest.mark.parametrize(
        ("key", "allowed"),
        [
            (READ, {"GetBlocks", "GetBlocksBulk", "GetBlocksPacks", "Explain"}),
            (WRITE, {"Track"}),
            (ADMIN, set(CALLS)),
        ],
        ids=["read", "write", "admin"],
    )
    def test_what_a_role_may_do(self, shop: Shop, key: str, allowed: set[str]) -> None:
        refused = {
            rpc for rpc in CALLS if code_of(shop, rpc, f"Bearer {key}") is grpc.StatusCode.PERMISSION_DENIED
        }
        assert refused == set(CALLS) - allowed

    def test_health_needs_no_key(self, shop: Shop) -> None:
        assert shop.health() == 1


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_the_scheme_is_the_same_in_capitals(scheme: str) -> None:
    assert Keys(KEYS).refusal((("authorization", f"{scheme} {READ}"),), "read") is None


def test_keys_that_are_not_text_are_compared_too() -> None:
    assert Keys(KEYS).refusal((("authorization", f"Bearer {READ}".encode()),), "read") is None
    assert Keys(KEYS).refusal((("authorization", b"\xff\xfe"),), "read") == "unauthenticated"


def test_tls(tmp_path: Path, store: MemoryStore) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"openssl makes no certificate here: {made.stderr.decode()[-200:]}")
    with Shop(tmp_path, store=store, tls_cert=str(cert), tls_key=str(key)).open() as shop:
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(f"localhost:{shop.port}", credentials) as channel:
            assert HeadraceStub(channel).GetBlocks(pb.GetBlocksRequest(slots=SLOTS), timeout=10).blocks
        with pytest.raises(grpc.RpcError):
            shop.client.GetBlocks(pb.GetBlocksRequest(slots=SLOTS), timeout=2)


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    shop = Shop(tmp_path, tls_cert=str(tmp_path / "none.pem"), tls_key=str(tmp_path / "none.key"))
    with pytest.raises(SettingsError, match=r"got `No such file or directory` - at `server\.tls_key`"):
        shop.running.start(0)
    shop.running.stop()


def test_health_names_the_service_and_turns_at_the_end(shop: Shop) -> None:
    assert (shop.health(), shop.health("headrace.v1.Headrace")) == (1, 1)
    shop.running._health.enter_graceful_shutdown()
    assert (shop.health(), shop.health("headrace.v1.Headrace")) == (2, 2)


def test_reflection_tells_the_contract(shop: Shop) -> None:
    database = ProtoReflectionDescriptorDatabase(shop.channel)
    assert set(database.get_services()) == {
        "headrace.v1.Headrace",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    service = DescriptorPool(database).FindServiceByName("headrace.v1.Headrace")
    assert [method.name for method in service.methods] == list(CALLS)

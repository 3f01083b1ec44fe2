"""What nobody could or should serve with is refused, and the error says which setting it is."""

from __future__ import annotations

import pytest

from recsys.placement import Placement
from recsys.servable import check, check_exposure
from recsys.settings import ServerSettings, Settings, SettingsError

READ = "a-read-key-of-the-tests"
KEYS = {READ: "read"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_exposure(ServerSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "shop.example", ""])
def test_anywhere_else_does(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(ServerSettings(host=host))
    assert str(caught.value) == (
        f"Expected keys, got none - at `server.keys`: others can reach `server.host` = `{host}`;"
        " or set it to 127.0.0.1"
    )
    check_exposure(ServerSettings(host=host, keys=KEYS))


def test_a_key_that_can_be_guessed_is_none() -> None:
    with pytest.raises(SettingsError, match=r"at key 0 of `server\.keys`") as caught:
        check_exposure(ServerSettings(keys={"hunter2": "read"}))
    assert "hunter2" not in str(caught.value)


def test_an_unknown_role() -> None:
    with pytest.raises(SettingsError, match="Expected a role of read, write, admin, got `root` - at key 0"):
        check_exposure(ServerSettings(keys={READ: "root"}))


def test_half_of_tls() -> None:
    with pytest.raises(
        SettingsError, match=r"got nothing - at `server\.tls_key`, which `server\.tls_cert` needs"
    ):
        check_exposure(ServerSettings(tls_cert="cert.pem"))


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (ServerSettings(threads=0), "Expected at least 1, got 0 - at `server.threads`"),
        (ServerSettings(port=70_000), "Expected a port of 0 to 65535, got 70000 - at `server.port`"),
    ],
)
def test_numbers_nobody_could_serve_with(server: ServerSettings, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check(Settings(server=server))
    assert str(refused.value) == said


def test_a_placement_whose_filter_cannot_be_asked() -> None:
    with pytest.raises(SettingsError) as refused:
        check(Settings(placements={"home.hero": Placement(filter="colour == 5")}))
    assert str(refused.value).startswith("Expected a known attribute (price, ")
    assert str(refused.value).endswith('got `colour` - at 0 of `placements."home.hero".filter`')

"""Settings: defaults, then the file, then the environment; what is wrong is named with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from recsys.banner import Banner
from recsys.fold import SessionRules
from recsys.placement import DEFAULT_PLACEMENTS, Placement, SourceName
from recsys.settings import ServerSettings, Settings, SettingsError, load_settings
from recsys.settings_table import as_toml
from recsys.stores.urls import split_path_url
from recsys.touchpoints import Rule, Touchpoint


def loaded(home: Path, toml: str = "", **environ: str) -> Settings:
    (home / "headrace.toml").write_text(toml, "utf-8")
    return load_settings(home, environ=environ)


SOURCES = get_args(SourceName)


def names_of(section: type[msgspec.Struct]) -> str:
    return ", ".join(section.__struct_fields__)


def problem(home: Path, toml: str = "", **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(home, toml, **environ)
    return str(caught.value)


def test_without_anything_the_defaults_stand(tmp_path: Path) -> None:
    found = load_settings(tmp_path)
    names = ("archive", "bundles", "recovery")
    assert [getattr(found, name) for name in names] == [f"{tmp_path}/{name}" for name in names]
    assert found.dead_letters == f"{tmp_path}/dead.db"
    assert split_path_url(found.log)[0] == tmp_path / "log.db"
    assert split_path_url(found.state)[0] == tmp_path / "state"
    places = dict.fromkeys(("log", "state", *names, "dead_letters"), "")
    assert msgspec.structs.replace(found, **places) == msgspec.structs.replace(Settings(), **places)
    assert found.session.rules == SessionRules(1_800_000, 86_400_000)


def test_two_homes_never_touch_each_other(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("a?1", "a?2", "a#b", "a b%20c", "{home}", "é")]
    settings = [load_settings(home) for home in homes]
    assert [split_path_url(one.log) for one in settings] == [(home / "log.db", {}) for home in homes]
    assert [split_path_url(one.state)[0] for one in settings] == [home / "state" for home in homes]
    assert [one.archive for one in settings] == [f"{home}/archive" for home in homes]


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("h")).archive == f"{tmp_path}/h/archive"


def test_the_file_overrides_defaults_and_the_environment_overrides_the_file(tmp_path: Path) -> None:
    toml = """
        log = "kafka://host:9092/events"
        archive = "{home}/elsewhere"
        [session]
        gap_s = 60
        [server]
        port = 8000
        """
    found = loaded(tmp_path, toml)
    assert (found.log, found.archive) == ("kafka://host:9092/events", f"{tmp_path}/elsewhere")
    assert (found.session.gap_s, found.session.cap_s, found.server.port) == (60, 86_400, 8000)
    found = loaded(tmp_path, toml, HEADRACE_SERVER__PORT="9000", HEADRACE_FLOW__SNAPSHOT_S="0.5", OTHER="x")
    assert (found.session.gap_s, found.server.port, found.flow.snapshot_s) == (60, 9000, 0.5)


def test_the_environment_sets_texts_lists_and_tables(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        HEADRACE_LOG="sqlite://{home}/own.db",
        HEADRACE_CONSENT__EMAIL='["newsletter", "offers"]',
        HEADRACE_SERVER__KEYS='{ "S3cret" = "read" }',
        HEADRACE_SERVER__HOST="",
        HEADRACE_HOME="ignored here",
        **{"HEADRACE_PLACEMENTS__HOME.HERO": "{ limit = 4, sources = { als = 1.0 } }"},
    )
    assert found.log == f"sqlite://{tmp_path}/own.db"
    assert found.consent.email == ("newsletter", "offers")
    assert found.server.keys == {"S3cret": "read"}
    assert found.server.host == ""
    assert found.all_placements()["home.hero"] == msgspec.structs.replace(
        DEFAULT_PLACEMENTS["home.hero"], limit=4, sources={"als": 1.0}
    )


def test_placements_and_touchpoints_come_beside_the_built_in_ones(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        """
        [placements."home.hero"]
        limit = 1
        [placements."blog.side"]
        item_types = ["article", "product"]
        sources = { content = 1, popular = 0.1 }
        [touchpoints.kiosk]
        channel = "store"
        online = false
        [[touchpoint_rules]]
        touchpoint = "kiosk"
        channel = "kiosk"
        """,
    )
    placements = found.all_placements()
    assert placements.keys() == {*DEFAULT_PLACEMENTS, "blog.side"}
    assert placements["home.hero"] == msgspec.structs.replace(DEFAULT_PLACEMENTS["home.hero"], limit=1)
    assert placements["blog.side"].item_types == ("article", "product")
    assert found.touchpoint_rules == (Rule("kiosk", channel="kiosk"),)
    registry = found.touchpoint_registry()
    assert registry.by_name["kiosk"] == Touchpoint("store", online=False)
    assert registry.by_event["Product Viewed", "", "kiosk"] == "kiosk"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("prot = 1", f"Expected one of {names_of(Settings)}, got `prot`"),
        ("[server]\nprot = 1", f"Expected one of {names_of(ServerSettings)}, got `prot` - at `server`"),
        ("[server]\nthreads = 0", "Expected a whole number >= 1, got 0 - at `server.threads`"),
        ("[train]\ntest_share = 1.0", "Expected a number < 1.0, got 1.0 - at `train.test_share`"),
        (
            "[server.keys]\nverysecretkey123 = 'boss'",
            "Expected one of read, write, admin, got `boss` - at `server.keys[...]`",
        ),
        ("[flow]\nidle_s = 20", "Expected at least 3 times flow.snapshot_s (30), got 20 - at `flow.idle_s`"),
        ("[session]\ncap_s = 60", "Expected at least session.gap_s (1800), got 60 - at `session.cap_s`"),
        (
            "[placements.'home.hero']\nlimit = -3",
            'Expected a whole number >= 1, got -3 - at `placements."home.hero".limit`',
        ),
        (
            "[placements.'home.hero']\nitem_types = []",
            'Expected at least one of product, article, got none - at `placements."home.hero".item_types`',
        ),
        (
            "[placements.home.hero]\nlimit = 3",
            (
                f'Expected one of {names_of(Placement)}, got `hero` - at `placements."home"`:'
                ' quote the name, `[placements."home.hero"]`'
            ),
        ),
        (
            "[placements.'home.hero']\nmax_per_brand = 'x'",
            'Expected a whole number or nothing, got a text - at `placements."home.hero".max_per_brand`',
        ),
        ("[server]\nport = true", "Expected a whole number, got true or false - at `server.port`"),
        ("[server]\nport = 'high'", "Expected a whole number, got a text - at `server.port`"),
        *(
            (
                f"time_zone = '{name}'",
                (
                    "Expected the IANA name of a time zone, such as Europe/Berlin,"
                    f" got `{name}` - at `time_zone`"
                ),
            )
            for name in ("Berlin", "../../etc/passwd", "")
        ),
        ("server = 5", "Expected a section, got a whole number - at `server`"),
        ("[consent]\nemail = 'news'", "Expected a list, got a text - at `consent.email`"),
        (
            "[placements.a]\nlimit = 1\n[placements.b]\nlimit = 'x'",
            'Expected a whole number, got a text - at `placements."b".limit`',
        ),
        (
            "[placements.'home.hero'.sources]\nlottery = 1",
            f'Expected one of {", ".join(SOURCES)}, got `lottery` - at `placements."home.hero".sources`',
        ),
        (
            "[placements.a]\nsources = { als = 1 }\nitem_types = ['product', 'book']",
            'Expected one of product, article, got `book` - at `placements."a".item_types[1]`',
        ),
        (
            "[placements.a]\nlimit = 5",
            f'Expected at least one of {", ".join(SOURCES)}, got none - at `placements."a".sources`',
        ),
        (
            "[placements.'home.hero']\nsources = {}",
            f'Expected at least one of {", ".join(SOURCES)}, got none - at `placements."home.hero".sources`',
        ),
        (
            "[touchpoints.kiosk]\nchannel = 'store'\nphaze = 'after'",
            'Expected one of channel, direct, online, phase, got `phaze` - at `touchpoints."kiosk"`',
        ),
        (
            "[touchpoints.kiosk]\nphase = 'after'",
            'Object missing required field `channel` - at `touchpoints."kiosk"`',
        ),
        (
            "[[touchpoint_rules]]\ntouchpoint = 'site'\nnmae = 'x'",
            "Expected one of touchpoint, name, medium, channel, got `nmae` - at `touchpoint_rules[0]`",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(tmp_path: Path, toml: str, message: str) -> None:
    assert problem(tmp_path, toml) == f"{message} - in `{tmp_path}/headrace.toml`"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("HEADRACE_SERVER__PORT", "high", "Expected a whole number, got a text - at `server.port`"),
        (
            "HEADRACE_SERVER__PRT",
            "1",
            f"Expected one of {names_of(ServerSettings)}, got `prt` - at `server`",
        ),
        ("HEADRACE_SERVER__THREADS", "0", "Expected a whole number >= 1, got 0 - at `server.threads`"),
        ("HEADRACE_CONSENT__EMAIL", "[broken", "Expected a list, got a text - at `consent.email`"),
        ("HEADRACE_NOSUCH", "1", f"Expected one of {names_of(Settings)}, got `nosuch`"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    assert problem(tmp_path, **{name: text}) == f"{message} - in `{name}`"


def test_a_rule_for_no_touchpoint_is_found_when_settings_are_read(tmp_path: Path) -> None:
    said = problem(tmp_path, "[[touchpoint_rules]]\ntouchpoint = 'nowhere'")
    assert "got `nowhere` - at `touchpoint_rules[0].touchpoint`" in said
    assert said.endswith(f" - in `{tmp_path}/headrace.toml`")


def test_a_placement_may_be_made_of_several_variables(tmp_path: Path) -> None:
    parts = {"HEADRACE_PLACEMENTS__A__LIMIT": "2", "HEADRACE_PLACEMENTS__A__SOURCES": "{ als = 1.0 }"}
    assert load_settings(tmp_path, environ=parts).placements["a"].sources == {"als": 1.0}
    del parts["HEADRACE_PLACEMENTS__A__SOURCES"]
    with pytest.raises(
        SettingsError, match=r'got none - at `placements."a"\.sources` - in `the environment`'
    ):
        load_settings(tmp_path, environ=parts)


def test_what_the_toml_has_as_comments_can_be_taken_as_it_stands(tmp_path: Path) -> None:
    shown = as_toml(load_settings(tmp_path), tmp_path)
    assert "# A session ends after this long without an event.\ngap_s = 1800\n" in shown
    set_ones, examples = shown.split("# [server.keys]")
    uncommented = "[server.keys]" + "\n".join(line.removeprefix("# ") for line in examples.split("\n"))
    found = loaded(tmp_path, set_ones + uncommented.replace("\n#\n", "\n"))
    assert found.placements == DEFAULT_PLACEMENTS
    assert list(found.server.keys.values()) == ["read"]
    assert found.touchpoint_registry().by_event["Product Viewed", "email", "kiosk"] == "kiosk"


def test_the_toml_says_what_every_setting_means(tmp_path: Path) -> None:
    shown = as_toml(load_settings(tmp_path), tmp_path)
    lines = shown.split("\n")
    told = {line.split(" = ")[0] for above, line in pairwise(lines) if above.startswith("# ")}
    plain = [field for section in plain_sections(Settings) for field in section]
    assert [name for name in plain if name not in told] == []
    for kind in (Placement, Banner):
        for name in kind.__struct_fields__:
            assert re.search(rf"^#   {name}( = .+)?: \w", shown, re.MULTILINE), name
    assert "#   limit = 10: Items when the request names no number." in lines


def plain_sections(kind: type[msgspec.Struct]) -> Iterator[list[str]]:
    """The names of the settings of each section that are no tables themselves."""
    values = msgspec.to_builtins(kind())
    yield [name for name, value in values.items() if not isinstance(value, dict | list | tuple)]
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from plain_sections(field.type)


def test_a_variable_cannot_go_below_a_value(tmp_path: Path) -> None:
    assert problem(tmp_path, "log = 'x'", HEADRACE_LOG__PATH="y") == (
        "Expected a section, got a value - at `log` in `HEADRACE_LOG__PATH`"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert problem(tmp_path, "port =") == (
        f"Expected TOML, got Invalid value (at end of document) - in `{tmp_path}/headrace.toml`"
    )
    missing = tmp_path / "missing.toml"
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, missing)
    assert str(caught.value) == f"Expected a file, got nothing at `{missing}`"
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, tmp_path)
    assert str(caught.value) == f"Expected a file, got Is a directory - at `{tmp_path}`"
    (tmp_path / "latin.toml").write_bytes(b'log = "\xe9"')
    with pytest.raises(SettingsError, match=r"^Expected TOML, got 'utf-8' codec can't decode"):
        load_settings(tmp_path, tmp_path / "latin.toml")


def test_a_named_file_takes_the_place_of_the_one_at_home(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("[server]\nport = 1", "utf-8")
    (tmp_path / "own.toml").write_text("[server]\nthreads = 3", "utf-8")
    found = load_settings(tmp_path, tmp_path / "own.toml")
    assert (found.server.port, found.server.threads) == (7007, 3)


def test_a_cooldown_counts_blocks_of_channels_and_known_placements_only(tmp_path: Path) -> None:
    config = tmp_path / "headrace.toml"
    config.write_text('[placements."email.digest"]\ncooldown_of = ["web", "home.feet"]')
    with pytest.raises(SettingsError, match="got `home") as caught:
        load_settings(tmp_path)
    assert f'`placements."email.digest".cooldown_of` - in `{config}`' in str(caught.value)


def test_a_banner_stands_in_known_placements_only(tmp_path: Path) -> None:
    config = tmp_path / "headrace.toml"
    config.write_text('[banners.w]\ntitle = "Sale"\nplacements = ["home.mixed", "home.nope"]')
    with pytest.raises(SettingsError, match=r"got `home\.nope`") as caught:
        load_settings(tmp_path)
    assert f'`banners."w".placements` - in `{config}`' in str(caught.value)


MIXED = '[placements."home.mixed"]\nshares = { product = 1.0, banner = 0.0 }\n'


@pytest.mark.parametrize(
    ("toml", "expected", "got", "path"),
    [
        (
            '[placements."email.digest"]\ncooldown_of = ["web"]',
            "at least 1",
            "0, with which `cooldown_of` does nothing",
            'placements."email.digest".cooldown_s',
        ),
        (
            '[banners.w]\ntitle = "Sale"\nplacements = ["home.mixed", "home.hero"]',
            "placements whose `shares` have banners (home.mixed)",
            "`home.hero`",
            'banners."w".placements',
        ),
        (
            MIXED + '[banners.w]\ntitle = "Sale"\nplacements = ["home.mixed"]',
            "placements whose `shares` have banners (there are none)",
            "`home.mixed`",
            'banners."w".placements',
        ),
    ],
)
def test_what_would_do_nothing_is_refused(
    tmp_path: Path, toml: str, expected: str, got: str, path: str
) -> None:
    config = tmp_path / "headrace.toml"
    config.write_text(toml)
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path)
    assert str(caught.value) == f"Expected {expected}, got {got} - at `{path}` - in `{config}`"


def test_a_cooldown_of_others_and_a_banner_of_some_placements_are_taken(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        '[placements."email.digest"]\ncooldown_s = 60\ncooldown_of = ["web"]\n'
        '[placements."home.hero"]\nshares = { banner = 0.4, product = 0.6 }\n'
        '[banners.w]\ntitle = "Sale"\nplacements = ["home.hero"]\n',
    )
    assert found.placements["email.digest"].cooldown_of == ("web",)
    assert found.banners["w"].placements == ("home.hero",)


@pytest.mark.parametrize(
    "shares", ["product = 0.6, article = 0.6, banner = 0.6", "banner = 1.0, product = 0.8"]
)
def test_shares_are_parts_of_a_whole(tmp_path: Path, shares: str) -> None:
    (tmp_path / "headrace.toml").write_text(f'[placements."home.mixed"]\nshares = {{ {shares} }}\n')
    with pytest.raises(SettingsError, match=r"Expected at most 1 together, got 1\.8 - at") as caught:
        load_settings(tmp_path)
    assert '`placements."home.mixed".shares`' in str(caught.value)


@pytest.mark.parametrize(
    "shares",
    [
        {"product": 0.33, "article": 0.56, "banner": 0.11},  # more than 1 by the last bit
        {"product": 0.34, "article": 0.33, "banner": 0.33},
        {"product": 0.5},
        {},
    ],
)
def test_shares_may_come_to_less_and_to_1_however_they_are_written(
    tmp_path: Path, shares: dict[str, float]
) -> None:
    text = ", ".join(f"{kind} = {share}" for kind, share in shares.items())
    found = loaded(tmp_path, f'[placements."home.mixed"]\nshares = {{ {text} }}\n')
    assert found.placements["home.mixed"].shares == shares


def test_names_of_ones_own_keep_their_case_in_the_environment(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "",
        HEADRACE_SERVER__KEYS__SixteenLettersKey="read",
        HEADRACE_BANNERS__Winter='{ title = "Sale", url = "/" }',
        **{"HEADRACE_PLACEMENTS__HOME.HERO__LIMIT": "4"},
    )
    assert dict(found.server.keys) == {"SixteenLettersKey": "read"}
    assert list(found.banners) == ["Winter"]
    assert found.placements["home.hero"].limit == 4

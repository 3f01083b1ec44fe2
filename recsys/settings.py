"""Settings: one typed tree, defaults here and nowhere else.

`headrace.toml` overrides them, environment variables override that: `HEADRACE_SERVER__PORT=9000`
sets `server.port`. Errors carry the path of the setting and where it came from.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from recsys.banner import Banner
from recsys.block import CHANNELS, DEFAULT_PLACEMENTS, Placement, SourceName
from recsys.fold import SessionRules
from recsys.setting_errors import OWN_NAMES, wrong
from recsys.touchpoints import Rule, Touchpoint, Touchpoints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[int, msgspec.Meta(ge=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Amount = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]

IDLE_SNAPSHOTS = 3

ENV_PREFIX = "HEADRACE_"
_RESERVED = frozenset(("HEADRACE_HOME", "HEADRACE_CONFIG", "HEADRACE_DATA", "HEADRACE_CACHE", "HEADRACE_KEY"))


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gap_s: Positive = 1800
    """A session ends after this long without an event."""
    cap_s: Positive = 86_400
    """No session lasts longer."""

    @property
    def rules(self) -> SessionRules:
        return SessionRules(self.gap_s * 1000, self.cap_s * 1000)


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allowed_lateness_s: Whole = 60
    """Events up to this late leave the state the ordered log would have left."""
    max_customers_per_device: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 20
    """A device is believed to be so many customers; logins as further ones are nobody's. 0: any number."""
    undo_login_s: Whole = 3 * 86_400
    """For so long, in the time of events, a login may be taken back (an alias of the device's id to itself);
    0: never."""
    snapshot_s: Amount = 10.0
    """How often the flow's own state is saved; after a crash at most this much is read again."""
    poll_ms: Amount = 2.0
    """How often an idle flow looks for new events."""
    idle_s: Amount = 900
    """A visitor or person without events for this long leaves the flow's memory for the store."""
    batch: Positive = 8000
    """Most records of a step: what is read from the log at once and folded before more is read."""
    step_ms: Positive = 500
    """How long a step should take: records that are dear to fold, as those of a flood of late events, are
    read fewer at a time."""
    archive_rows: Positive = 200_000
    """A Parquet file is closed after this many events, or after `archive_s`."""
    archive_s: Positive = 3600
    """As above: a file of a quiet day is closed after this time."""


class ConsentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    personalization: tuple[str, ...] = ("personalization", "advertising")
    """Names of `context.consent.categoryPreferences`: one of them false is a no to personalisation. What is
    not said is a yes."""
    email: tuple[str, ...] = ("email",)
    """Likewise for email blocks."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Where it listens; beyond this machine it wants keys."""
    port: Port = 7007
    """gRPC: blocks, mailings and events."""
    processes: Positive = 1
    """Server processes sharing the port."""
    threads: Positive = 8
    """Request threads of each process."""
    metrics_port: Port = 7008
    """Prometheus metrics of all processes at /metrics; 0: none."""
    deadline_ms: Positive = 250
    """Used where the caller sets no deadline."""
    state_timeout_ms: Positive = 100
    """How long a request waits for a Redis that hangs; then pages get blocks for everybody for a second, and
    one request asks again."""
    max_slots: Positive = 16
    """Most slots of one request."""
    max_limit: Positive = 200
    """Most items of one slot."""
    max_track_events: Positive = 500
    """Most events of one call of Track."""
    max_bulk_people: Positive = 1_000_000
    """Most people of one mailing's stream."""
    served_queue: Positive = 10_000
    """Blocks served that wait to be logged; beyond, the oldest are dropped and counted."""
    refresh_ms: Positive = 200
    """How often catalogue changes, counters and new bundles are looked for."""
    keys: dict[str, Literal["read", "write", "admin"]] = {}
    """API key -> role: read, write or admin. Required off loopback; sent as `authorization: Bearer KEY`."""
    tls_cert: str = ""
    """File of the certificate chain (PEM), for TLS; with `tls_key`."""
    tls_key: str = ""
    """File of its private key (PEM)."""
    render_ttl_s: Positive = 7 * 86_400
    """For this long the same render_id gets the same decision."""
    retry_s: Positive = 300
    """For this long a call that is sent again with the same request_id gets the same decisions."""


class TrainSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    every_s: Positive = 3600
    """How often `headrace up` trains."""
    days: Positive = 180
    """How much history is read."""
    threads: Positive = 2
    """Bound on the threads of ALS, FAISS and BLAS."""
    factors: Positive = 64
    """Numbers that ALS describes a taste by."""
    iterations: Positive = 12
    """Rounds of its fit; large shops need fewer, and get them."""
    regularization: Amount = 0.05
    """How far it keeps tastes from what little says."""
    view_weight: Amount = 1.0
    """What a view tells it of a taste."""
    read_weight: Amount = 1.0
    """Likewise an article that was read."""
    cart_weight: Amount = 3.0
    """Likewise what was put into a cart."""
    order_weight: Amount = 6.0
    """Likewise what was ordered."""
    m_most_recent_sessions: Positive = 1000
    """Sessions with an item in common that are looked at for like ones, where a bundle has no ranker."""
    k_neighbours: Positive = 200
    """How many of them, the likest, have a vote."""
    test_share: Share = 0.1
    """The newest share of the sessions, held out to evaluate."""
    max_test_queries: Positive = 5000
    """Most clicks of held-out sessions that bundles are asked to foretell."""
    min_events: Whole = 100
    """Fewer interactions than this train no model."""
    text_model: str = ""
    """What texts are read by: nothing for the shop's own words, `all-minilm-l6-v2` for the sentence model
    that `headrace[text]` brings, or a folder with a `model.onnx` and a `tokenizer.json` of your own."""
    worse_by: Amount = 0.05
    """A bundle is refused when its HR@20 is worse than popularity, or by more than this share
    worse than the published one's on the same test."""
    keep: Positive = 3
    """Bundles kept."""
    seed: Whole = 7
    """Of all chance in a training: the same gives the same bundle."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. `{home}` in a URL or path stands for HEADRACE_HOME."""

    log: str = "sqlite://{home}/log.db"
    """Where events are kept as they came: sqlite:///path, or kafka://host:9092/topic."""
    state: str = "lmdb://{home}/state"
    """What is known of people and items: lmdb:///path, or redis://host:6379/0?prefix=shop:."""
    archive: str = "{home}/archive"
    """Events by day, which training reads (Parquet)."""
    bundles: str = "{home}/bundles"
    """Models that were published."""
    recovery: str = "{home}/recovery"
    """The flow's own state, from which it goes on after a crash."""
    dead_letters: str = "{home}/dead.db"
    """Events that nobody could act on, with why."""
    time_zone: str = "UTC"
    """The shop's, by its IANA name, such as Europe/Berlin: reasons tell clock times and days in it."""
    session: SessionSettings = SessionSettings()
    flow: FlowSettings = FlowSettings()
    consent: ConsentSettings = ConsentSettings()
    server: ServerSettings = ServerSettings()
    train: TrainSettings = TrainSettings()
    banners: dict[str, Banner] = {}
    """What may stand in the places that `shares` gives to banners, by names of your own."""
    placements: dict[str, Placement] = {}
    """Places of your own, and changes to built-in ones: what is not named stays as built in."""
    touchpoints: dict[str, Touchpoint] = {}
    """Kinds of contact of your own, or in place of the built-in ones of the same name."""
    touchpoint_rules: tuple[Rule, ...] = ()
    """Which events are which touchpoint, before the built-in rules; the first that matches decides."""

    def all_placements(self) -> dict[str, Placement]:
        return {**DEFAULT_PLACEMENTS, **self.placements}

    @property
    def has_embedded_state(self) -> bool:
        """Whether the state is on this machine's disk, and answers at once."""
        return self.state.startswith("lmdb:")

    def zone(self) -> tzinfo:
        """Raises ValueError."""
        try:
            # A name of UTC needs no tables, and so no package or system that has them.
            return timezone.utc if self.time_zone == "UTC" else ZoneInfo(self.time_zone)
        except (ValueError, ZoneInfoNotFoundError, OSError):
            raise ValueError(
                f"Expected the IANA name of a time zone, such as Europe/Berlin, got `{self.time_zone}`"
                " - at `time_zone`"
            ) from None

    def touchpoint_registry(self) -> Touchpoints:
        return Touchpoints(self.touchpoints, self.touchpoint_rules)


class SettingsError(ValueError):
    """A setting that cannot be used: says where, what was expected and what came."""


def load_settings(
    home: Path, config: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Defaults, then the file `config` (or `headrace.toml` in `home`, if there is one), then the
    environment; `{home}` filled in. Raises SettingsError."""
    path = config if config is not None else home / "headrace.toml"
    given: dict[str, Any] = {}
    if path.exists():
        try:
            given = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"Expected TOML, got {error} - in `{path}`") from None
        except OSError as error:
            raise SettingsError(f"Expected a file, got {error.strerror} - at `{path}`") from None
        _convert(given, str(path))
    elif config is not None:
        raise SettingsError(f"Expected a file, got nothing at `{path}`")
    for name, text in sorted((environ or {}).items()):
        if name.startswith(ENV_PREFIX) and name not in _RESERVED:
            _set(given, keys_of(name), _plain(text), name)
            _convert(given, name)
    where = str(path) if path.exists() else "the environment"
    _complete(given.get("placements", {}), where)
    settings = _filled(_convert(given, where), home)
    _check_together(settings, where)
    try:
        settings.zone()
        settings.touchpoint_registry()
    except ValueError as error:
        raise SettingsError(f"{error} - in `{where}`") from None
    return settings


def keys_of(name: str) -> list[str]:
    """Where an environment variable points. Case does not matter but for names of one's own: a server's key
    counts as it is written, and so does a placement's, banner's or touchpoint's that is not all capitals."""
    keys = name[len(ENV_PREFIX) :].split("__")
    path = [key.lower() for key in keys]
    if path[:2] == ["server", "keys"]:
        path[2:] = keys[2:]
    elif path[0] in OWN_NAMES and len(keys) > 1 and not keys[1].isupper():
        path[1] = keys[1]
    return path


def _convert(given: dict[str, Any], where: str) -> Settings:
    try:
        # strict=False: numbers from the environment arrive as text.
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{wrong(given, Settings, '') or error} - in `{where}`") from None


def _complete(placements: dict[str, dict[str, Any]], where: str) -> None:
    """Fill in what a change to a built-in placement leaves as it is. Raises SettingsError."""
    for name, fields in placements.items():
        if name in DEFAULT_PLACEMENTS:
            fields |= {**msgspec.to_builtins(DEFAULT_PLACEMENTS[name]), **fields}
        if not fields.get("sources"):
            raise SettingsError(
                f"Expected at least one of {', '.join(get_args(SourceName))}, got none"
                f' - at `placements."{name}".sources` - in `{where}`'
            )


def _set(tree: dict[str, Any], keys: list[str], value: object, name: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"Expected a section, got a value - at `{key}` in `{name}`")
    tree[keys[-1]] = value


def _plain(text: str) -> object:
    """A list or table may be given as TOML; anything else is text, converted by its type."""
    if text[:1] in "[{":
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _check_together(settings: Settings, where: str) -> None:
    """What no single setting shows."""
    flow, session = settings.flow, settings.session
    # After a crash the flow reads again what came since its last snapshot: what has gone idle since
    # must not be among it.
    least_s = IDLE_SNAPSHOTS * flow.snapshot_s
    if flow.idle_s < least_s:
        raise SettingsError(
            f"Expected at least {IDLE_SNAPSHOTS} times flow.snapshot_s ({least_s:g}), got {flow.idle_s:g}"
            f" - at `flow.idle_s` - in `{where}`"
        )
    for name, placement in settings.placements.items():
        if not placement.item_types:
            raise SettingsError(
                f'Expected at least one of product, article, got none - at `placements."{name}".item_types`'
                f" - in `{where}`"
            )
    _check_names(settings, where)
    if session.cap_s < session.gap_s:
        raise SettingsError(
            f"Expected at least session.gap_s ({session.gap_s}), got {session.cap_s}"
            f" - at `session.cap_s` - in `{where}`"
        )


def _check_names(settings: Settings, where: str) -> None:
    """Of placements that others of the settings name."""
    places = sorted(settings.all_placements())
    lists = [
        (f'placements."{name}".cooldown_of', its.cooldown_of, (*CHANNELS, *places))
        for name, its in settings.placements.items()
    ]
    lists += [
        (f'banners."{name}".placements', its.placements, tuple(places))
        for name, its in settings.banners.items()
    ]
    for path, names, known in lists:
        if odd := [name for name in names if name not in known]:
            expected = f"Expected one of {', '.join(known)}"
            raise SettingsError(f"{expected}, got `{odd[0]}` - at `{path}` - in `{where}`")


def _filled(settings: Settings, home: Path) -> Settings:
    place = str(home.absolute())
    urls = {name: getattr(settings, name).replace("{home}", quote(place)) for name in ("log", "state")}
    paths = {
        name: getattr(settings, name).replace("{home}", place)
        for name in ("archive", "bundles", "recovery", "dead_letters")
    }
    return msgspec.structs.replace(settings, **urls, **paths)

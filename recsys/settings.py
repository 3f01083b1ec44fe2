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
from recsys.fold import SessionRules
from recsys.placement import CHANNELS, DEFAULT_PLACEMENTS, Placement, SourceName
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
_ROUNDING = 1e-6
"""By so much shares may come to more than 1, for decimals are not exact."""

ENV_PREFIX = "HEADRACE_"
_RESERVED = frozenset(("HEADRACE_HOME", "HEADRACE_CONFIG", "HEADRACE_DATA", "HEADRACE_CACHE", "HEADRACE_KEY"))


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[session]: what one sitting is."""

    gap_s: Positive = 1800
    """A session ends after this long without an event."""
    cap_s: Positive = 86_400
    """No session lasts longer than this."""

    @property
    def rules(self) -> SessionRules:
        return SessionRules(self.gap_s * 1000, self.cap_s * 1000)


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[flow]: the write path."""

    allowed_lateness_s: Whole = 60
    """Events that come up to this late count as if they had come in order; later ones correct totals and
    reopen no session."""
    max_customers_per_device: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 20
    """So many customers may log in on one device; what it does under further ones is nobody's (a bot, a
    kiosk). 0: any number."""
    undo_login_s: Whole = 3 * 86_400
    """For so long after a login it may be taken back (an alias of the device's id to itself), by the time of
    events; 0: never."""
    snapshot_s: Amount = 10.0
    """How often the flow's own state is saved; after a crash at most this much is read again."""
    poll_ms: Amount = 2.0
    """How often an idle flow looks for new events."""
    idle_s: Amount = 900
    """A visitor or person without events for this long leaves the flow's memory for the store."""
    batch: Positive = 8000
    """Most records of a step: what is read from the log at once and folded before more is read."""
    step_ms: Positive = 500
    """How long a step should take, and so the longest that a click waits for its turn: where records cost
    more to fold, as late events do, fewer are read at a time."""
    archive_rows: Positive = 200_000
    """A Parquet file is closed after this many events, or after `archive_s`."""
    archive_s: Positive = 3600
    """A Parquet file is closed after this time, however few events it has."""


class ConsentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[consent]: which of a shop's consent categories mean what."""

    personalization: tuple[str, ...] = ("personalization", "advertising")
    """Categories of `context.consent.categoryPreferences`: where one of these is false the person has said no
    to personalisation. Where none is named they have said yes."""
    email: tuple[str, ...] = ("email",)
    """Likewise, a no to mail: its blocks are `unsubscribed`."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: the read path."""

    host: str = "127.0.0.1"
    """The address it listens on. Any other than this machine's own wants `[server.keys]`."""
    port: Port = 7007
    """The port of gRPC: blocks, mailings and events."""
    processes: Positive = 1
    """Server processes that share the port: one a core."""
    threads: Positive = 8
    """Request threads of each process."""
    metrics_port: Port = 7008
    """Prometheus metrics of all processes at /metrics; 0: none."""
    deadline_ms: Positive = 250
    """How long an answer may take where the caller sets no deadline."""
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
    """Most served blocks that wait to be logged; beyond, the oldest are dropped and counted."""
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
    """[train]: what `headrace train` learns from, and when it publishes."""

    every_s: Positive = 3600
    """How often `headrace up` trains, in seconds."""
    days: Positive = 180
    """How many days of history are read."""
    threads: Positive = 2
    """Most threads of ALS, FAISS and BLAS: the cores that a training may have."""
    factors: Positive = 64
    """How many numbers ALS (matrix factorisation) describes a taste by."""
    iterations: Positive = 12
    """Rounds of the ALS fit; large shops need fewer, and get them."""
    regularization: Amount = 0.05
    """Regularisation of ALS: more of it keeps tastes that little is known of closer to none."""
    view_weight: Amount = 1.0
    """What a view counts in the ALS fit."""
    read_weight: Amount = 1.0
    """What an article that was read counts in it."""
    cart_weight: Amount = 3.0
    """What an item put into a cart counts in it."""
    order_weight: Amount = 6.0
    """What an ordered item counts in it."""
    m_most_recent_sessions: Positive = 1000
    """Where a bundle has no ranker: how many of the newest sessions that share an item are looked at for
    neighbours of this one."""
    k_neighbours: Positive = 200
    """How many of those, the most similar, vote."""
    test_share: Share = 0.1
    """The newest share of the sessions, held out to evaluate."""
    max_test_queries: Positive = 5000
    """Most clicks of held-out sessions that a bundle is asked to predict."""
    min_events: Whole = 100
    """With fewer interactions than this no model is trained."""
    text_model: str = ""
    """What texts are read by: nothing for the shop's own words, `all-minilm-l6-v2` for the sentence model
    that `headrace[text]` brings, or a folder with a `model.onnx` and a `tokenizer.json` of your own."""
    worse_by: Amount = 0.05
    """A bundle is refused when its HR@20 is worse than popularity, or by more than this share
    worse than the published one's on the same test."""
    keep: Positive = 3
    """How many published bundles are kept, the newest."""
    seed: Whole = 7
    """Seed of all random numbers in a training: the same seed and history give the same bundle."""


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
        """The shop's time zone. Raises ValueError where `time_zone` names none."""
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
        whole = sum(placement.shares.values())
        if whole > 1 + _ROUNDING:
            raise SettingsError(
                f'Expected at most 1 together, got {whole:g} - at `placements."{name}".shares` - in `{where}`'
            )
    _check_names(settings, where)
    _check_idle(settings, where)
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


def _check_idle(settings: Settings, where: str) -> None:
    """What is set and would do nothing, for another setting that it stands on says no."""
    for name, its in settings.placements.items():
        if its.cooldown_of and not its.cooldown_s:
            raise SettingsError(
                f"Expected at least 1, got {its.cooldown_s}, with which `cooldown_of` does nothing"
                f' - at `placements."{name}".cooldown_s` - in `{where}`'
            )
    places = settings.all_placements()
    with_banners = [name for name, its in places.items() if its.shares.get("banner", 0) > 0]
    for name, banner in settings.banners.items():
        if bare := [one for one in banner.placements if one not in with_banners]:
            may = ", ".join(with_banners) or "there are none"
            raise SettingsError(
                f"Expected placements whose `shares` have banners ({may}), got `{bare[0]}`"
                f' - at `banners."{name}".placements` - in `{where}`'
            )


def _filled(settings: Settings, home: Path) -> Settings:
    place = str(home.absolute())
    urls = {name: getattr(settings, name).replace("{home}", quote(place)) for name in ("log", "state")}
    paths = {
        name: getattr(settings, name).replace("{home}", place)
        for name in ("archive", "bundles", "recovery", "dead_letters")
    }
    return msgspec.structs.replace(settings, **urls, **paths)

"""Commands that call a server: track, ask, explain."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from recsys.home import Home
    from recsys.ports import ProfileStore
    from server.client import Client

commands = typer.Typer()

Key = Annotated[str, typer.Option(envvar="HEADRACE_KEY", help="API key, where the server has keys.")]
Server = Annotated[str, typer.Option(help="HOST:PORT of another server than the settings name.")]
As = Annotated[str, typer.Option("--as", help="The device or browser (anonymousId).")]
User = Annotated[str, typer.Option(help="The customer (userId), where one is logged in.")]
Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]


@commands.command()
def track(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="JSON, a file of JSON lines, `-`, or a verb: view, add, remove, search, read, order, ..."
        ),
    ] = None,
    anonymous_id: As = "",
    user: User = "",
    quantity: Annotated[float | None, typer.Option(help="How many; of `add`, `remove`, `order`.")] = None,
    price: Annotated[float | None, typer.Option(help="Of one, in the shop's currency.")] = None,
    as_json: Json = False,
    key: Key = "",
    server: Server = "",
) -> int:
    """Send events: `track view P-0102 --as anna-phone`, or Segment JSON. Prints their positions."""
    from server.calls import Details, Sender, events_of
    from server.tables import receipt_lines

    sender = Sender(anonymous_id, user, time.time_ns() // 1_000_000)
    try:
        events = events_of(words or ["-"], sender, Details(quantity, price), sys.stdin.buffer)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    home: Home = ctx.obj
    with _client(home, key, server, 30_000) as client:
        answer = client.track(events)
    if as_json:
        return _print_json(answer)
    for line in receipt_lines(answer):
        print(line)
    return 1 if any(receipt.HasField("problem") for receipt in answer.receipts) else 0


@commands.command()
def ask(
    ctx: typer.Context,
    placements: Annotated[
        list[str] | None,
        typer.Argument(help="Such as home.hero, product.similar; home.hero where none is named."),
    ] = None,
    anonymous_id: As = "",
    user: User = "",
    item: Annotated[str, typer.Option(help="The page's item, for product.similar and its like.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most items of a block; 0: as configured.")] = 0,
    after: Annotated[
        str, typer.Option(help="Wait for the event at this position, as track printed it.")
    ] = "",
    cursor: Annotated[str, typer.Option(help="The next page: the cursor that the page before told.")] = "",
    where: Annotated[
        str, typer.Option("--where", help='What items must pass: `price_now < 50.0 && brand != "Acme"`.')
    ] = "",
    market: Annotated[str, typer.Option(help="The country of the request, as feeds name it: DE.")] = "",
    age: Annotated[int, typer.Option(min=0, help="Years that the person has at least.")] = 0,
    referrer: Annotated[str, typer.Option(help="Where the visit came from, as an address.")] = "",
    why: Annotated[bool, typer.Option(help="Why each item is there, and the intent.")] = False,
    why_not: Annotated[
        list[str] | None, typer.Option("--why-not", help="Why this item is not there; repeatable.")
    ] = None,
    as_json: Json = False,
    deadline_ms: Annotated[int, typer.Option(min=1, help="How long an answer may take.")] = 5000,
    key: Key = "",
    server: Server = "",
) -> int:
    """Blocks for somebody: `ask home.hero product.similar --item P-0102 --as anna-phone --why`."""
    from rich.console import Console

    from server.pb import headrace_pb2 as pb
    from server.tables import print_accounts, print_blocks, print_person, slots_of

    home: Home = ctx.obj
    slots = slots_of(placements or ["home.hero"], home.settings().all_placements(), item, limit)
    slots[0].cursor = cursor
    for slot in slots:
        slot.filter = where
    context = pb.Context(market=market, age=age, referrer=referrer)
    with _client(home, key, server, deadline_ms) as client:
        began_s = time.perf_counter()
        answer = client.blocks(slots, anonymous_id=anonymous_id, user_id=user, after=after, context=context)
        call_ms = (time.perf_counter() - began_s) * 1000
        told = why or bool(why_not)
        explained = [client.explain(block.decision_id, why_not or ()) for block in answer.blocks if told]
        if not server and client.log() == home.settings().log:
            _note_unknown(home.settings().state, item, market)
    if as_json:
        return _print_json(answer, **({"explained": explained} if told else {}))
    console = Console(emoji=False)
    print_blocks(console, answer, call_ms)
    for one in explained:
        print_accounts(console, one, home.settings().zone(), () if why else why_not or ())
    if told:
        print_person(console, answer.person)
    return 0


@commands.command()
def mailing(
    ctx: typer.Context,
    people: Annotated[
        Path, typer.Argument(help="One a line: u:<user id>, a:<anonymous id>, or JSON with them.")
    ],
    out: Annotated[
        Path, typer.Argument(help="File of the answers, each behind its length; goes on where it ends.")
    ],
    placements: Annotated[list[str], typer.Option("--slot", help="A placement; repeatable.")],
    campaign: Annotated[
        str, typer.Option(help="The mailing's name: under the same one again, the same blocks, counted once.")
    ],
    limit: Annotated[int, typer.Option(min=0, help="Most items of a block; 0: as configured.")] = 0,
    market: Annotated[str, typer.Option(help="The country of who has none in their line: DE.")] = "",
    age: Annotated[int, typer.Option(min=0, help="Years that everybody has at least.")] = 0,
    connections: Annotated[int, typer.Option(min=1, max=64, help="To the server, a call each.")] = 8,
    skip_wrong: Annotated[
        bool, typer.Option("--skip-wrong", help="Leave out lines that name nobody, and say which.")
    ] = False,
    key: Key = "",
    server: Server = "",
) -> int:
    """Blocks for many people into a file: `mailing people.txt out.pb --slot email.digest --campaign may`.

    JSON lines may have a `market` and an `age` of their own. All lines are looked at before anything is asked
    for, and who stands there twice is asked for once. After a kill the same command goes on where the file
    ends; a file of another campaign, other people or other slots is refused. At its end it tells how many got
    blocks without items, and why."""
    from contextlib import ExitStack
    from functools import partial

    from rich.console import Console

    from server.mailing import OtherMailing, send_all
    from server.mailing_list import WrongPerson, each_once, listed, people_of
    from server.pb import headrace_pb2 as pb
    from server.tables import slots_of

    home: Home = ctx.obj
    slots = slots_of(placements, home.settings().all_placements(), "", limit)
    began_s, console = time.perf_counter(), Console(stderr=True, emoji=False)
    opened = partial(people.open, encoding="utf-8-sig", errors="surrogateescape")
    context = pb.Context(market=market, age=age)
    try:
        with opened() as lines:
            skip = partial(print, "headrace: left out:", file=sys.stderr) if skip_wrong else None
            whole = listed(people_of(lines, campaign, skip))
    except WrongPerson as error:
        raise typer.BadParameter(f"{error}; --skip-wrong leaves such lines out") from None
    with ExitStack() as stack, opened() as lines:
        clients = [stack.enter_context(_client(home, key, server)) for _ in range(connections)]
        if market and not server and clients[0].log() == home.settings().log:
            _note_unknown(home.settings().state, "", market)
        status = stack.enter_context(console.status("asking"))

        def told(done: int, new: int) -> None:
            rate = new / max(time.perf_counter() - began_s, 1e-9)
            status.update(f"{done:,} of {whole.n_people:,} people, {rate:,.0f}/s")

        again = people_of(lines, campaign, (lambda _: None) if skip_wrong else None, context)
        once = each_once(again, whole.twice)
        try:
            outcome = send_all(clients, slots, once, out, told, campaign=campaign, context=context)
        except (OtherMailing, WrongPerson) as error:
            raise typer.BadParameter(str(error)) from None
    again_count = whole.n_lines - whole.n_people
    named_again = f"; {again_count:,} of {whole.n_lines:,} lines name somebody again" if again_count else ""
    print(f"{outcome.n_people:,} people in {out}{named_again}")
    for line in outcome.lines():
        print(line)
    return 0


@commands.command()
def explain(
    ctx: typer.Context,
    decision_id: Annotated[str, typer.Argument(help="As `ask --why` prints it.")],
    items: Annotated[
        list[str] | None, typer.Option("--item", help="Tell of this one too, shown or not; repeatable.")
    ] = None,
    as_json: Json = False,
    key: Key = "",
    server: Server = "",
) -> int:
    """A block served before: to whom, when, why each item is there, and why `--item` is not."""
    from rich.console import Console

    from server.tables import print_explanation

    home: Home = ctx.obj
    with _client(home, key, server) as client:
        answer = client.explain(decision_id, items or ())
    if as_json:
        return _print_json(answer)
    print_explanation(Console(emoji=False), answer, home.settings().zone())
    return 0


def _client(home: Home, key: str, server: str, deadline_ms: int = 5000) -> Client:
    """Says so on standard error when the settings' own address is the server of another home."""
    from server.client import Client

    settings = home.settings()
    client = Client.of(settings.server, key, server, deadline_ms / 1000)
    told = "" if server else client.log()
    if told and told != settings.log:
        print(
            f"headrace: {client.address} is the server of `{told}`, not of `{settings.log}`", file=sys.stderr
        )
    return client


def _note_unknown(state: str, item: str, market: str) -> None:
    """An item, or a market, that the catalogue does not know: the blocks go by the rest of the request then,
    which looks as if it had been heeded."""
    from contextlib import closing, suppress

    from recsys.keys import item_key
    from recsys.markets import is_country, market_code
    from recsys.open import open_store
    from recsys.ports import StoreUnavailable

    code = market_code(market)
    with suppress(StoreUnavailable), closing(open_store(state)) as store:
        if item and store.get_many([item_key(item)])[0] is None:
            print(f"headrace: the catalogue has no item `{item}`", file=sys.stderr)
        if code and not is_country(code) and not _is_named(code, store):
            print(f"headrace: `{market}` is no country, and no item names such a market", file=sys.stderr)


def _is_named(market: str, store: ProfileStore) -> bool:
    """Whether an item is sold in this market, or kept from it."""
    from recsys.catalog import decode_item
    from recsys.keys import ITEM_PREFIX

    items = (decode_item(record) for _, record in store.scan(ITEM_PREFIX))
    return any(market in item.markets or market in item.not_markets for item in items)


def _print_json(message: Message, **more: Sequence[Message]) -> int:
    """As one object, with lists of `more` of them."""
    import json

    from google.protobuf.json_format import MessageToDict

    told = MessageToDict(message, preserving_proto_field_name=True)
    for name, others in more.items():
        told[name] = [MessageToDict(one, preserving_proto_field_name=True) for one in others]
    print(json.dumps(told, indent=2, ensure_ascii=False))
    return 0

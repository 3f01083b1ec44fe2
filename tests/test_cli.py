"""The command line: what it says about mistakes, and the commands that need no server."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

import headrace
from bench.demo.screen import scene
from recsys.block import DEFAULT_PLACEMENTS
from recsys.ports import NewRecord
from recsys.servable import check_exposure
from recsys.settings import load_settings
from server.calls import Details, Sender, call_of, calls_in
from server.metrics import Metrics
from server.up import free_ports

PROGRAM = Path(headrace.__file__)
COMMANDS = (
    "up flow serve train track ask mailing explain catalog import config doctor verify bench demo placements"
)
NOBODY_LISTENS = 1  # a port below all that anybody uses here


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


def run(home: Path, *words: str) -> int:
    return headrace.run(["--home", str(home), *words])


def test_help_lists_every_command_and_the_exit_codes(capsys):
    assert headrace.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS.split() if f" {command} " not in shown] == []
    assert "0 done, 1 failed, 2 wrong usage or settings" in shown


def test_help_imports_neither_engine_nor_server_nor_model():
    heavy = "bytewax grpc numba pyarrow numpy lmdb rich.console"
    code = (
        "import sys, headrace; headrace.run(['ask', '--nonsense']);"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROGRAM.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ask", "--nonsense"], 2, "No such option: --nonsense (see `headrace ask --help`)"),
        (["track", "view", "P-1"], 2, "Expected --as DEVICE or --user CUSTOMER, got neither"),
        (
            ["track", "view"],
            2,
            "Expected a product's id, got nothing; Expected --as DEVICE or --user CUSTOMER, got neither",
        ),
        (["track", "gaze", "P-1", "--as", "a"], 2, "Expected JSON, a file, or one of view, click, add,"),
        (["import", "segment", "nowhere.jsonl"], 2, "file 'nowhere.jsonl' does not exist"),
        (
            ["import", "segment", __file__, "--speed", "quick"],
            2,
            "Expected `max` or a speed like `100x`, got `quick`",
        ),
        (["bench", "nothing"], 2, "Expected freshness, serving, flow, quality, growth, bulk, got `nothing`"),
        (["catalog", "show", "P-1"], 1, "Expected an item of the catalogue, got `P-1`"),
        (["train"], 1, "Expected at least 100 interactions in 180 days, got 0"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(tmp_path, capsys, words, code, said):
    assert run(tmp_path, *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_no_server_is_one_line_that_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_SERVER__PORT", str(NOBODY_LISTENS))
    assert run(tmp_path, "ask", "--as", "anna") == 1
    assert capsys.readouterr().err == (
        "headrace: Expected a server on 127.0.0.1:1, got no answer: start it with `headrace up`\n"
    )


def test_a_wrong_setting_names_its_path_and_where_it_stands(tmp_path, capsys, monkeypatch):
    (tmp_path / "headrace.toml").write_text("[server]\nprot = 1\n")
    assert run(tmp_path, "ask") == 2
    assert "prot" in capsys.readouterr().err
    (tmp_path / "headrace.toml").unlink()
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "many")
    assert run(tmp_path, "ask") == 2
    assert capsys.readouterr().err == (
        "headrace: Expected `int`, got `str` - at `server.port` - in `HEADRACE_SERVER__PORT`\n"
    )


def test_home_and_config_may_stand_behind_the_command(tmp_path, capsys):
    config = tmp_path / "other.toml"
    config.write_text("[server]\nport = 1234\n")
    assert headrace.run(["config", "show", "--toml", "--home", str(tmp_path), "--config", str(config)]) == 0
    assert "port = 1234" in capsys.readouterr().out


def test_config_show_says_where_each_setting_comes_from(tmp_path, capsys, monkeypatch):
    (tmp_path / "headrace.toml").write_text(
        "[train]\nfactors = 32\n[server.keys]\nverysecretkey123 = 'read'\n"
    )
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "9000")
    monkeypatch.setenv("COLUMNS", "250")
    assert run(tmp_path, "config", "show") == 0
    rows = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()
    }
    assert rows["server.port"] == ["9000", "7007", "HEADRACE_SERVER__PORT"]
    assert rows["train.factors"] == ["32", "64", "headrace.toml"]
    assert rows["session.gap_s"] == ["1800", "-"]
    assert "verysecretkey123" not in str(rows)
    assert any(path.startswith("flow.") for path in rows)


def test_config_show_has_a_row_for_each_change_to_a_placement(tmp_path, capsys, monkeypatch):
    (tmp_path / "headrace.toml").write_text(
        '[placements."home.hero"]\nlimit = 7\ntitle = "For you"\n[banners.winter]\ntitle = "Winter sale"\n'
    )
    monkeypatch.setenv("HEADRACE_PLACEMENTS__home.hero__MAX_PER_BRAND", "2")
    monkeypatch.setenv("COLUMNS", "80")
    assert run(tmp_path, "config", "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [line.split() for line in lines]
    hero = shown.index(['placements."home.hero"'])
    assert shown[hero + 1] == ["limit", "7", "3", "headrace.toml"]
    assert shown[hero + 2][:3] == ["max_per_brand", "2", "-"]
    assert shown[hero + 2][3].startswith("HEADRACE_")
    # As built in: no row, though the file names it.
    assert not any(line[:1] == ["title"] for line in shown[hero:])
    banner = shown.index(['banners."winter"'])
    assert shown[banner + 1] == ["title", '"Winter', 'sale"', "-", "headrace.toml"]
    assert shown[banner + 2][0] != "url"


def test_config_show_shows_and_refuses_what_nobody_could_serve_with(tmp_path, capsys):
    (tmp_path / "headrace.toml").write_text('[server]\nhost = "0.0.0.0"\n')
    assert run(tmp_path, "config", "show") == 2
    told = capsys.readouterr()
    assert "server.host" in told.out
    assert "Expected keys, got none - at `server.keys`" in told.err


def test_config_show_toml_is_the_same_settings_again(tmp_path, capsys, monkeypatch):
    written = tmp_path / "headrace.toml"
    written.write_text(
        'touchpoint_rules = [{touchpoint = "app", medium = "pu\\"sh"}]\n'
        '[placements."home.top"]\ntitle = "Für dich"\nsources = {als = 0.5, popular = 1.0}\n'
        '[touchpoints."till.berlin"]\nchannel = "store"\nonline = false\n'
    )
    monkeypatch.setenv("HEADRACE_TRAIN__WORSE_BY", "0.125")
    assert run(tmp_path, "config", "show", "--toml") == 0
    shown = capsys.readouterr().out
    expected = load_settings(tmp_path, environ=os.environ)
    written.write_text(shown)
    assert load_settings(tmp_path) == expected
    assert str(tmp_path) not in shown  # so that the file can be moved with its home


VIEW = {
    "type": "track",
    "event": "Product Viewed",
    "anonymousId": "a1",
    "timestamp": "2026-03-01T10:00:00.000Z",
    "receivedAt": "2026-03-01T10:00:01.000Z",
    "properties": {"product_id": "P-1", "name": "Trail Tent", "price": 99.5},
}


def test_an_import_goes_through_the_log_and_the_flow(tmp_path, capsys):
    events = tmp_path / "events.jsonl"
    lines = [json.dumps({**VIEW, "messageId": f"m{number}"}) for number in range(3)]
    events.write_text(
        "\n".join([*lines, lines[0], '{"type":"track","timestamp":"2026-03-01T10:00:02Z"}', ""])
    )
    home = tmp_path / "home"
    assert run(home, "import", "segment", str(events)) == 0
    shown = capsys.readouterr().out
    assert "log: 5 appended" in shown
    assert "flow: 5 records in" in shown
    assert run(home, "verify") == 0
    assert "5 records folded, 1 people compared\n0 differences\n" in capsys.readouterr().out
    run(home, "doctor")
    assert "received 5 = accepted 3 + duplicates 1 + dead 1" in capsys.readouterr().out
    assert run(home, "catalog", "show", "P-1") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Trail Tent"


def test_a_feed_becomes_the_catalogue_and_a_full_one_takes_out_the_rest(tmp_path, capsys):
    feed, home = tmp_path / "feed.tsv", tmp_path / "home"
    feed.write_text("id\ttitle\tprice\nP-1\tTent\t99.00 EUR\nP-2\tStove\t49.00 EUR\n")
    assert run(home, "catalog", "import", str(feed)) == 0
    assert run(home, "catalog", "list") == 0
    shown = capsys.readouterr().out
    assert "Tent" in shown
    assert "Stove" in shown
    feed.write_text("id\ttitle\tprice\nP-1\tTent\t89.00 EUR\n")
    assert run(home, "catalog", "import", str(feed), "--replace") == 0
    capsys.readouterr()
    assert run(home, "catalog", "show", "P-2") == 0
    assert json.loads(capsys.readouterr().out)["removed"] is True


def test_a_full_feed_of_articles_leaves_the_products_and_the_other_way_round(tmp_path, capsys):
    products, articles, home = tmp_path / "feed.tsv", tmp_path / "articles.jsonl", tmp_path / "home"
    products.write_text("id\ttitle\tprice\nP-1\tTent\t99.00 EUR\n")
    lines = [json.dumps({"id": f"a{n}", "title": "How", "summary": "So."}) for n in range(2)]
    articles.write_text("\n".join(lines))
    assert run(home, "catalog", "import", str(products)) == 0
    assert run(home, "catalog", "import", str(articles), "--replace") == 0
    assert "log: 2 articles appended in" in capsys.readouterr().out
    articles.write_text(lines[0])
    assert run(home, "catalog", "import", str(articles), "--replace") == 0
    assert "  1 article taken out\n" in capsys.readouterr().out
    assert run(home, "catalog", "import", str(products), "--replace") == 0
    assert "  0 products taken out\n" in capsys.readouterr().out
    assert run(home, "catalog", "list") == 0
    shown = "P-1\n  Tent | 99.00 EUR\narticle:a0\n  How\n2 of 2\n"
    assert capsys.readouterr().out == shown
    assert run(home, "catalog", "list", "--all", "--kind", "article", "--limit", "1") == 0
    assert capsys.readouterr().out.endswith("1 of 2; --limit 2 shows all\n")


def test_an_import_of_nothing_fails_and_starts_no_flow(tmp_path, capsys):
    events = tmp_path / "hostname"
    events.write_text("db-7\n")
    assert run(tmp_path / "home", "import", "segment", str(events)) == 1
    said = capsys.readouterr()
    assert said.err == f"headrace: Expected events, got none that could be taken - in `{events}`\n"
    assert "line 1: Expected receivedAt, sentAt or timestamp, got nothing" in said.out
    assert "flow:" not in said.out


def test_the_list_of_items_beside_a_ga4_file_is_named(tmp_path, capsys):
    events = tmp_path / "events.csv"
    events.write_text("ts_us,user_id,event,item\n1772359200000000,7.1,view,Tee\n")
    (tmp_path / "items.csv").write_text("item_name,brand\nTee,Acme\nMug,Acme\n")
    assert run(tmp_path / "home", "import", "ga4", str(events)) == 0
    assert "items: 2 of items.csv beside it; their names are their ids\n" in capsys.readouterr().out


def test_a_stopped_import_says_what_is_in_the_log(tmp_path, capsys, monkeypatch):
    def interrupted(path, now_ms):
        for number in range(2500):
            yield NewRecord("a", b'{"type": "page"}', 1_772_359_200_000 + number)
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.imports.segment.read_segment", interrupted)
    assert run(tmp_path / "home", "import", "segment", __file__) == 130
    said = capsys.readouterr()
    assert said.out == (
        "stopped: 2,000 are in the log. Start it again: what is there already is counted once.\n"
    )
    assert said.err == "headrace: interrupted\n"


def test_doctor_lists_dead_letters_and_creates_nothing(tmp_path, capsys):
    home = tmp_path / "home"
    assert run(home, "doctor") == 1
    assert run(home, "doctor", "--dead", "5") == 0
    assert capsys.readouterr().out.endswith("0 of 0 dead letters\n")
    assert not home.exists()
    events = tmp_path / "events.jsonl"
    nameless = {"type": "track", "anonymousId": "a1", "timestamp": "2026-03-01T10:00:00Z"}
    events.write_text(json.dumps(VIEW) + "\n" + "\n".join(json.dumps({**nameless, "n": n}) for n in range(2)))
    assert run(home, "import", "segment", str(events)) == 0
    assert "  2 dead letters: `headrace doctor --dead 2` says why\n" in capsys.readouterr().out
    assert run(home, "doctor", "--dead", "1") == 0
    why, raw, count = capsys.readouterr().out.splitlines()
    assert why.endswith("UTC, missing_field: Expected a name, got nothing - at `$.event`")
    assert json.loads(raw)["n"] == 1
    assert count == "1 of 2 dead letters"


def test_a_flow_of_two_processes_leaves_what_one_leaves(tmp_path):
    events = tmp_path / "events.jsonl"
    events.write_text(
        "\n".join(json.dumps({**VIEW, "messageId": f"m{n}", "anonymousId": f"a{n % 7}"}) for n in range(70))
    )
    home = tmp_path / "home"
    assert run(home, "import", "segment", str(events)) == 0
    for name in ("recovery", "state", "archive"):
        (home / name).rename(tmp_path / name)
    command = [sys.executable, str(PROGRAM), "--home", str(home)]
    subprocess.run([*command, "flow", "--processes", "2", "--to-end"], check=True, timeout=120)
    assert run(home, "verify") == 0


def test_up_runs_everything_once_a_home_and_stops_on_a_signal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_SERVER__METRICS_PORT", "0")
    monkeypatch.setenv("HEADRACE_SERVER__PORT", str(free_ports(1)[0]))
    command = [sys.executable, str(PROGRAM), "--home", str(tmp_path), "up"]
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as up:
        try:
            _until(lambda: run(tmp_path, "track", "view", "P-1", "--as", "anna") == 0)
            position = capsys.readouterr().out.split()[0]
            assert run(tmp_path, "ask", "home.hero", "--as", "anna", "--after", position, "--json") == 0
            answer = json.loads(capsys.readouterr().out)
            assert answer["blocks"][0]["freshness"]["reached"] is True
            assert answer["person"]["person"] == "a:anna"
            assert run(tmp_path, "explain", answer["blocks"][0]["decision_id"]) == 0
            assert "known as a:anna" in capsys.readouterr().out
            assert run(tmp_path, "ask", "home.nowhere") == 2
            capsys.readouterr()
            assert run(tmp_path, "ask", "product.similar", "--item", "P-1") == 0
            assert capsys.readouterr().err == ""
            assert run(tmp_path, "ask", "product.similar", "--item", "nope") == 0
            assert capsys.readouterr().err == "headrace: the catalogue has no item `nope`\n"
            assert run(tmp_path / "second", "ask") == 0
            warned = capsys.readouterr().err
            assert warned.startswith("headrace: 127.0.0.1:")
            assert (
                f"is the server of `sqlite://{tmp_path}/log.db`, not of `sqlite://{tmp_path}/second" in warned
            )
            assert not (tmp_path / "second").exists()
            assert run(tmp_path, "up") == 1
            assert run(tmp_path, "flow") == 1
        finally:
            up.send_signal(signal.SIGTERM)
            assert up.wait(60) == 0
    assert "headrace: all stopped" in (tmp_path / "out").read_text()
    capsys.readouterr()
    assert run(tmp_path, "ask") == 1  # nobody answers any more


def test_up_starts_nothing_with_settings_that_nobody_can_serve_with(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_SERVER__HOST", "0.0.0.0")
    assert run(tmp_path, "up") == 2
    assert "Expected keys, got none - at `server.keys`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_tells_its_own_options(capsys):
    with pytest.raises(SystemExit) as ended:
        headrace.run(["bench", "flow", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: headrace bench flow")
    assert headrace.run(["bench", "--help"]) == 0
    assert "freshness, serving, flow, quality, growth or bulk" in capsys.readouterr().out


def test_the_version_is_told(capsys):
    assert headrace.run(["--version"]) == 0
    assert re.fullmatch(r"headrace \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_placements_are_listed_with_what_the_file_changes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    (tmp_path / "headrace.toml").write_text('[placements."home.hero"]\nlimit = 7\n')
    assert run(tmp_path, "placements") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows.keys() == DEFAULT_PLACEMENTS.keys()
    assert re.search(r"For you +7 +- +products", rows["home.hero"])
    assert rows["home.mixed"].endswith("products and articles and banners")
    assert " needed " in rows["product.similar"]


def test_no_heading_of_the_demo_is_cut():
    shown = Console(width=30, file=io.StringIO())
    title = "anna looks at three of Outdoor > Camp kitchen"
    scene(shown, title)
    assert title.split() == shown.file.getvalue().split("─")[0].split()


README = (PROGRAM.parent / "README.md").read_text()


def test_the_readme_names_every_placement_and_metric():
    metrics = CollectorRegistry()
    Metrics(metrics)
    names = [*DEFAULT_PLACEMENTS, *(family.name for family in metrics.collect())]
    assert [name for name in names if f"`{name}" not in README] == []


def test_the_settings_in_the_readme_can_be_used(tmp_path):
    examples = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "headrace.toml").write_text("\n".join(examples))
    found = load_settings(tmp_path)
    assert found.train.text_model
    assert found.server.keys
    assert found.placements
    assert found.touchpoint_rules
    check_exposure(found.server)


def _until(condition) -> None:
    end_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.2)


ANNA = Sender("web-anna", "", 1_772_359_200_000)


@pytest.mark.parametrize(
    ("verb", "words", "expected"),
    [
        ("view", ["P-1"], {"event": "Product Viewed", "properties": {"product_id": "P-1", "quantity": 2.0}}),
        ("search", ["two", "tents"], {"event": "Products Searched", "properties": {"query": "two tents"}}),
        ("read", ["article:a-1"], {"event": "Article Read", "properties": {"content_id": "a-1"}}),
        ("logout", [], {"event": "Signed Out", "properties": {}}),
    ],
)
def test_verbs_make_segment_calls(verb, words, expected):
    call = msgspec.json.decode(call_of(verb, words, ANNA, Details(quantity=2.0)))
    assert {name: call[name] for name in expected} == expected
    assert call["type"] == "track"
    assert call["anonymousId"] == "web-anna"
    assert call["timestamp"] == "2026-03-01T10:00:00.000+00:00"
    assert "userId" not in call


def test_a_login_names_the_customer():
    for words, sender in ((["c-1"], ANNA), ([], ANNA._replace(user_id="c-1"))):
        call = msgspec.json.decode(call_of("login", words, sender))
        assert (call["type"], call["anonymousId"], call["userId"]) == ("identify", "web-anna", "c-1")


def test_a_login_is_taken_back_by_an_alias_of_the_device_to_itself():
    call = msgspec.json.decode(call_of("undo-login", [], ANNA._replace(user_id="c-1")))
    assert (call["type"], call["previousId"], call["userId"]) == ("alias", "web-anna", "web-anna")
    assert "anonymousId" not in call
    with pytest.raises(ValueError, match="Expected the device whose login is taken back, as --as DEVICE"):
        call_of("undo-login", [], Sender("", "c-1", 0))


def test_json_may_be_one_call_many_lines_or_a_list():
    one = b'{"type": "page"}'
    assert calls_in(one) == [one]
    assert calls_in(b"[" + one + b", " + one + b"]") == [one, one]
    assert calls_in(one + b"\n\n" + one + b"\n") == [one, one]
    assert calls_in(b"not json") == [b"not json"]  # the server tells what is wrong with it

"""Commands that bring history and catalogues in, and what doctor, verify and a flow make of them."""

import json
import subprocess
import sys

import pytest

from recsys.ports import NewRecord
from tests.commands import PROGRAM, run

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

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
    assert run(home, "catalog", "show", "P-3") == 1
    assert capsys.readouterr().err == "headrace: Expected an item of the catalogue, got `P-3`\n"


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


def test_commands_that_only_look_create_nothing_and_doctor_lists_dead_letters(tmp_path, capsys):
    home = tmp_path / "home"
    assert run(home, "doctor") == 1
    assert run(home, "doctor", "--dead", "5") == 0
    assert capsys.readouterr().out.endswith("0 of 0 dead letters\n")
    for words in (["verify"], ["catalog", "list"], ["catalog", "show", "P-1"]):
        assert run(home, *words) == 1
        assert "got none - at `" in capsys.readouterr().err
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

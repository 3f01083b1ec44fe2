"""The command line: what it says of itself, about mistakes and about settings; the README says the same."""

import io
import os
import re
import subprocess
import sys
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

import headrace
from bench.demo.screen import scene
from recsys.placement import DEFAULT_PLACEMENTS, SourceName
from recsys.servable import check_exposure
from recsys.settings import load_settings
from server.metrics import Metrics
from tests.commands import PROGRAM, run

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

COMMANDS = (
    "up flow serve train track ask mailing explain catalog import config doctor verify bench demo placements"
)
NOBODY_LISTENS = 1  # a port below all that anybody uses here


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
        (
            ["track", "--as", "v", '{"type": "track"}'],
            2,
            "Expected --as or --user with a verb, got them with JSON",
        ),
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
        (["catalog", "show", "P-1"], 1, "Expected a state that a flow has kept, got none - at `lmdb:///"),
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
        "headrace: Expected a whole number, got a text - at `server.port` - in `HEADRACE_SERVER__PORT`\n"
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


def test_the_readme_names_every_placement_source_and_metric():
    metrics = CollectorRegistry()
    Metrics(metrics)
    names = [*DEFAULT_PLACEMENTS, *(family.name for family in metrics.collect())]
    names += [f"{source}` |" for source in get_args(SourceName)]
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

"""`headrace bench quality` from end to end on tiny generated sets: every format, both tables, and the
same answers from a server as from the replay."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import headrace
from bench.quality import main, through_server
from bench.quality.contestants import BASELINES, OURS
from recsys.models.lessons import Lessons
from recsys.placement import PRODUCT_FEED

NOW_S = 1_600_041_600
KEYS = {
    "hr20", "mrr20", "hr5", "ndcg20", "coverage", "popularity", "hr20_low", "hr20_high", "train_s",
    "bundle_mb", "us_per_decision",
}  # fmt: skip
ITEMS, SESSIONS = 30, 160


def sessions_of(seed, count=SESSIONS):
    """Walks among ten items of one colour of three, by small steps."""
    drawn = random.Random(seed)
    walks = []
    for _ in range(count):
        colour, place = drawn.randrange(3), drawn.randrange(10)
        walk = []
        for _ in range(drawn.randint(2, 7)):
            walk.append(f"item-{3 * place + colour}")
            place = (place + drawn.choice((1, 1, 2, -1))) % 10
        walks.append(walk)
    return walks


@pytest.fixture
def files(tmp_path):
    """--train and --test of each format."""
    learned, later = sessions_of(1), sessions_of(2, 20)
    made = {}
    made["sessions"] = (
        "".join(" ".join(walk) + "\n" for walk in learned),
        "".join(f"{' '.join(walk[:n])}\t{walk[n]}\n" for walk in later for n in range(1, len(walk))),
    )
    made["tsv"] = (tsv_of(learned, NOW_S), tsv_of(later, NOW_S + 400_000))
    made["topn"] = (
        "".join(f"{user} {' '.join(dict.fromkeys(walk))}\n" for user, walk in enumerate(learned)),
        "".join(f"{'' if user % 3 else 'stranger-'}{user} item-{user % ITEMS}\n" for user in range(40)),
    )
    made["ga4"] = (ga4_of(learned, NOW_S), ga4_of(later, NOW_S + 400_000))
    arguments = {}
    for name, texts in made.items():
        paths = [tmp_path / f"{name}-{part}.csv" for part in ("train", "test")]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        arguments[name] = ["--format", name, "--train", str(paths[0]), "--test", str(paths[1])]
    return arguments


def tsv_of(walks, begin_s):
    rows = [
        f"{number}\t{item}\t{begin_s + 600 * number + 20 * step}\n"
        for number, walk in enumerate(walks)
        for step, item in enumerate(walk)
    ]
    return "SessionId\tItemId\tTime\n" + "".join(rows)


def ga4_of(walks, begin_s):
    """Twelve visitors come again and again; what they see last they put into the cart, some buy it."""
    rows = ["ts_us,user_id,session_id,event,item,price,qty,tx,page,dev,country,medium,source\n"]
    for number, walk in enumerate(walks):
        visitor, at_s = number % 12, begin_s + 2_000 * number
        for step, item in enumerate(walk):
            rows.append(f"{at_s + 20 * step}000000,{visitor}.5,{number},view,{item},9.5,,,,mobile,Chile,,\n")
        late_s = at_s + 20 * len(walk)
        rows.append(f"{late_s}000000,{visitor}.5,{number},add_to_cart,{walk[-1]},9.5,1,,,mobile,Chile,,\n")
        if number % 3 == 0:
            more = f"{walk[-1]},9.5,1,T{number}-{begin_s},,mobile,Chile,,\n"
            rows.append(f"{late_s + 30}000000,{visitor}.5,{number},purchase,{more}")
    return "".join(rows)


def ran(capsys, *arguments):
    assert main([*arguments, "--threads", "1", "--json"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    return json.loads(last)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sessions", "tsv", "ga4", "topn"])
def test_the_table_has_every_contestant_with_every_figure(files, capsys, name):
    report = ran(capsys, *files[name])
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) == {of.name for of in BASELINES if name in of.kinds} | {OURS}
    assert report["data"]["format"] == name
    assert report["data"]["queries"] > 30
    for row in rows.values():
        assert row.keys() >= KEYS | ({"recall20"} if name == "topn" else set())
        assert 0 <= row["hr20_low"] <= row["hr20"] <= row["hr20_high"] <= 1
        assert row["mrr20"] <= row["hr20"]
    assert report["hardware"]["cores"] >= 1
    assert report["versions"]["python"].startswith("3.")
    if name != "topn":  # colours can be learned: everybody who tries knows more than what is popular
        assert rows[OURS]["mrr20"] > rows["popular"]["mrr20"]
        assert rows["vmis_knn"]["mrr20"] > rows["popular"]["mrr20"]
    assert rows[OURS]["bundle_mb"] > 0 < rows[OURS]["us_per_decision"]


@pytest.mark.slow
def test_an_ablation_has_a_row_for_each_source_and_changes_answers(files, capsys, monkeypatch):
    # In a shop of 30 items the ranker knows all of them, whoever names them.
    monkeypatch.setattr(Lessons, "replay", classmethod(lambda *_, **__: None))
    report = ran(capsys, *files["tsv"], "--only", OURS, "--ablate")
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) == {OURS, *(f"{OURS} - {source}" for source in PRODUCT_FEED)}
    told = ("hr20", "mrr20", "coverage", "popularity")
    assert any(row[name] != rows[OURS][name] for row in rows.values() for name in told)


@pytest.mark.slow
def test_a_sample_asks_fewer_questions_and_the_same_ones_again(files, capsys):
    sampled = ("--only", "vmis_knn", "--max-queries", "15", "--seed", "3")
    once, again = (ran(capsys, *files["sessions"], *sampled) for _ in range(2))
    assert 15 <= once["data"]["queries"] <= 21
    assert once["rows"][0]["mrr20"] == again["rows"][0]["mrr20"]
    assert [row["name"] for row in once["rows"]] == ["vmis_knn"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsv", "topn", "ga4"])
def test_the_server_shows_what_the_replay_shows_to_the_item(files, capsys, name):
    """For ga4 through log and flow, for the others from profiles in the state."""
    report = ran(capsys, *files[name], "--through-server", "--max-queries", "25")
    assert report["asked"] >= 25
    assert report["differ"] == 0


@pytest.mark.slow
def test_what_no_request_may_bar_is_not_asked(files, capsys, monkeypatch):
    monkeypatch.setattr(through_server, "MAX_EXCLUDED", 2)
    report = ran(capsys, *files["topn"], "--through-server")
    assert 0 < report["not_asked"] < 40
    assert (report["asked"] + report["not_asked"], report["differ"]) == (40, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "ga4"], "Expected one of --test and --test-days, got none"),
        (["--format", "tsv"], "Expected a file, got none - at `--test`"),
        (["--format", "tsv", "--only", "magic"], "got `magic` - at `--only`"),
    ],
)
def test_wrong_arguments_are_told(tmp_path, capsys, arguments, told):
    with pytest.raises(SystemExit) as ended:
        main(["--train", str(tmp_path / "train"), *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_wrong_file_is_one_line_and_exit_code_1(tmp_path, capsys):
    path = tmp_path / "train"
    path.write_text("1\ta\t5\n1\tb\n")
    assert main(["--format", "tsv", "--train", str(path), "--test", str(path)]) == 1
    told = f"headrace: Expected 3 columns, got 2 - in `{path}` line 2\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("name", "test", "expected"),
    [
        ("tsv", "1\titem-1\t5\n2\titem-2\t6\n", "a session of two clicks"),
        ("topn", "1\n2\n", "a user with an item to be found"),
        ("ga4", "ts_us,user_id,event,item\n", "a session that goes on to an item of the training"),
    ],
)
def test_a_test_that_asks_nothing_is_told(files, capsys, name, test, expected):
    Path(files[name][-1]).write_text(test)
    assert main(files[name]) == 1
    assert capsys.readouterr().err == f"headrace: Expected {expected}, got none - in `{files[name][-1]}`\n"


def test_a_training_of_events_that_mean_nothing_is_told(files, capsys):
    train = Path(files["ga4"][3])
    train.write_text("ts_us,user_id,event,item\n1600000000000000,u,product_page,hat\n")
    assert main(files["ga4"]) == 1
    told = f"headrace: Expected something that people did with items, got nothing - in `{train}`\n"
    assert capsys.readouterr().err == told


def test_it_is_a_command(capsys):
    with pytest.raises(SystemExit) as ended:
        headrace.run(["bench", "quality", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: headrace bench quality")

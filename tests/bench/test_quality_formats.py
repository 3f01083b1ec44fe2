"""The readers of `headrace bench quality`: what is learned, what is asked, and what is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from bench.quality.formats import WrongFile, read_sessions, read_topn, read_tsv
from bench.quality.ga4 import read_exports
from bench.quality.globo import convert
from bench.quality.retail import read_retail
from recsys.events import Action
from recsys.models.interactions import InteractionKind


def written(folder, name, text):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def asked(trial):
    """(session so far, targets, person, events taken) of each question, by ids."""
    questions, ids = trial.questions, [*trial.train.item_ids, "unknown"]
    return [
        (
            [ids[row] for row in questions.walk[questions.start[i] : questions.stop[i]]],
            [
                ids[row]
                for row in questions.targets[questions.target_starts[i] : questions.target_starts[i + 1]]
            ],
            questions.persons[i],
            int(questions.taken[i]),
        )
        for i in range(len(questions))
    ]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_sessions_are_learned_in_order_and_prefixes_of_one_session_belong_together(tmp_path, ending):
    train = written(tmp_path, f"train.txt{ending}", "a b b\nc\n\nb c\n")
    test = written(tmp_path, f"test.tsv{ending}", "a b\tc\na\tb\nc\tnew\n")
    trial = read_sessions(train, test)
    assert trial.train.item_ids == ["a", "b", "c"]
    assert trial.train.item.tolist() == [0, 1, 1, 2, 1, 2]  # repeats stay
    assert trial.train.session.tolist() == [0, 0, 0, 1, 2, 2]
    assert (np.diff(trial.train.at_s) > 0).all()
    assert sorted(asked(trial)) == [
        (["a"], ["b"], "visitor-0", 1),
        (["a", "b"], ["c"], "visitor-0", 2),
        (["c"], ["unknown"], "visitor-1", 4),
    ]
    assert trial.questions.owner.tolist() == [0, 0, 1]
    assert [event.lines[0].item for event in trial.events] == ["a", "b", "c", "c", "new"]


def test_a_growing_prefix_is_the_same_session_and_a_repeated_one_is_not(tmp_path):
    train = written(tmp_path, "train", "a b c\n")
    test = written(tmp_path, "test", "a\tb\na b\tc\na\tb\n")
    assert read_sessions(train, test).questions.owner.tolist() == [0, 0, 1]


@pytest.mark.parametrize("header", ["SessionId\tItemId\tTime\n", ""])
def test_tsv_asks_at_every_place_in_the_order_of_time(tmp_path, header):
    train = written(tmp_path, "train.gz", header + "1\ta\t100.5\n1\tb\t101\n2\ta\t90\n2\tc\t95\n")
    test = written(tmp_path, "test.tsv", header + "9\tb\t210\n9\ta\t200\n8\tc\t205\n8\tx\t206\n9\tc\t220\n")
    trial = read_tsv(train, test)
    assert [trial.train.item_ids[row] for row in trial.train.item] == ["a", "c", "a", "b"]
    assert trial.train.at_s.tolist() == [90, 95, 100.5, 101]
    assert asked(trial) == [
        (["a"], ["b"], "visitor-9", 1),
        (["c"], ["unknown"], "visitor-8", 2),
        (["a", "b"], ["c"], "visitor-9", 4),
    ]
    assert trial.questions.at_ms.tolist() == [200_000, 205_000, 210_000]
    assert [event.at_ms for event in trial.events] == [200_000, 205_000, 206_000, 210_000, 220_000]


def test_tsv_takes_columns_by_their_names_and_times_in_milliseconds(tmp_path):
    rows = "itemid\tsessionid\tnote\ttime\n"
    train = written(tmp_path, "train", rows + "a\t1\tx\t1600000000000\nb\t1\ty\t1600000001000\n")
    test = written(tmp_path, "test", rows + "a\t5\tx\t1600000002000\nb\t5\ty\t1600000003000\n")
    trial = read_tsv(train, test)
    assert trial.train.at_s.tolist() == [1_600_000_000, 1_600_000_001]
    assert asked(trial) == [(["a"], ["b"], "visitor-5", 1)]


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_tsv_knows_the_unit_of_its_times(tmp_path, unit):
    lines = "".join(
        f"1\t{item}\t{at_s * unit}\n" for item, at_s in (("a", 1_600_000_000), ("b", 1_600_000_007))
    )
    file = written(tmp_path, "both", lines)
    assert read_tsv(file, file).train.at_s.tolist() == [1_600_000_000, 1_600_000_007]


def test_tsv_of_a_coarse_clock_tells_order_by_its_lines(tmp_path):
    train = written(tmp_path, "train", "2\ta\t90\n1\ta\t100\n1\tb\t100\n2\tc\t90\n1\tc\t100.001\n1\ta\t105\n")
    test = written(tmp_path, "test", "9\tb\t200\n9\ta\t200\n")
    trial = read_tsv(train, test)
    assert [trial.train.item_ids[row] for row in trial.train.item] == ["a", "c", "a", "b", "c", "a"]
    assert trial.train.at_s.tolist() == [90, 90.001, 100, 100.001, 100.002, 105]
    assert trial.train.tells_order
    assert asked(trial) == [(["b"], ["a"], "visitor-9", 1)]


def test_topn_asks_for_all_of_a_users_test_items_and_bars_what_they_have(tmp_path):
    train = written(tmp_path, "train", "0 a b\n1 b\n2 c\n")
    test = written(tmp_path, "test", "0 c new\n1\n2 a\n")
    trial = read_topn(train, test)
    assert asked(trial) == [
        (["a", "b"], ["c", "unknown"], "visitor-0", 0),
        (["c"], ["a"], "visitor-2", 0),
    ]
    assert trial.bars_history
    assert [event.visitor for event in trial.earlier] == ["visitor-0", "visitor-0", "visitor-2"]
    assert not trial.train.tells_order
    assert len({event.at_ms for event in trial.earlier}) == 1
    assert trial.train.person_ids == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("read", "train", "test", "told"),
    [
        (read_sessions, "a b\n", "a b c\n", "Expected `prefix<TAB>target`, got `a b c` - in `{test}` line 1"),
        (read_sessions, "a b\n", "a\tb\nb\n", "Expected `prefix<TAB>target`, got `b` - in `{test}` line 2"),
        (read_sessions, "\n", "a\tb\n", "Expected a session of item ids, got nothing - in `{train}` line 1"),
        (read_tsv, "1\ta\t5\n1\tb\n", "1\ta\t5\n", "Expected 3 columns, got 2 - in `{train}` line 2"),
        (
            read_tsv,
            "1\ta\t5\n1\tb\tsoon\n",
            "1\ta\t5\n",
            "Expected a Time in epoch seconds, got `soon` - in `{train}` line 2",
        ),
        (
            read_tsv,
            "SessionId\tX\tTime\n1\ta\t5\n",
            "1\ta\t5\n",
            "Expected the columns SessionId, ItemId and Time, got `SessionId\tX\tTime` - in `{train}` line 1",
        ),
        (read_topn, "0 a\n0 b\n", "0 c\n", "Expected each user once, got `0` again - in `{train}` line 2"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(tmp_path, read, train, test, told):
    paths = {"train": written(tmp_path, "train", train), "test": written(tmp_path, "test", test)}
    with pytest.raises(WrongFile) as error:
        read(paths["train"], paths["test"])
    assert str(error.value) == told.format(**paths)


GA4_HEADER = "ts_us,user_id,session_id,event,item,price,qty,tx,page,dev,country,medium,source\n"
DAY_S = 86_400
NOW_S = 1_600_041_600
"""The noon of a day."""


def ga4_row(at_s, visitor, event, item, tx=""):
    return f"{at_s * 1_000_000},{visitor}.1,1,{event},{item},5.0,1,{tx},,desktop,Chile,organic,google\n"


def test_ga4_asks_for_the_next_other_known_item_of_the_session(tmp_path):
    rows = [
        ga4_row(NOW_S - DAY_S, 7, "view", "Mug"),
        ga4_row(NOW_S - DAY_S + 10, 7, "view", "Cap"),
        ga4_row(NOW_S - DAY_S + 20, 7, "view", "Bag"),
        ga4_row(NOW_S, 7, "view", "Mug"),
        ga4_row(NOW_S + 5, 7, "view", "Mug"),  # the page fired twice
        ga4_row(NOW_S + 10, 7, "search", "hats"),
        ga4_row(NOW_S + 20, 7, "view", "Novelty"),
        ga4_row(NOW_S + 30, 7, "add_to_cart", "Novelty"),
        ga4_row(NOW_S + 40, 8, "view", "Cap"),
        ga4_row(NOW_S + 50, 7, "add_to_cart", "Cap"),
        ga4_row(NOW_S + 7_000, 7, "view", "Bag"),  # another session
    ]
    path = written(tmp_path, "events.csv", GA4_HEADER + "".join(rows))
    trial, records = read_exports(path, None, test_days=1)
    assert asked(trial) == [
        (["Mug", "Mug"], ["Cap"], "7.1", 2),
        (["Mug", "Mug", "unknown", "unknown"], ["Cap"], "7.1", 5),
    ]
    assert trial.bars_current
    assert [event.action for event in trial.earlier] == [Action.VIEW] * 3
    assert trial.train.kind.tolist() == [InteractionKind.VIEW] * 3
    assert {item.id: item.title for item in trial.catalogue} == {"Mug": "Mug", "Cap": "Cap", "Bag": "Bag"}
    assert trial.counters["Mug"].views == 1.0
    assert [len(told) for told in records] == [3, *[1] * 8]


def test_ga4_goes_on_with_a_session_that_began_before_the_test(tmp_path):
    train = written(
        tmp_path,
        "train.csv",
        GA4_HEADER + ga4_row(NOW_S, 7, "view", "Mug") + ga4_row(NOW_S, 9, "view", "Cap"),
    )
    rows = ga4_row(NOW_S + 60, 7, "view", "Mug") + ga4_row(NOW_S + 90, 7, "purchase", "Cap", tx="T1")
    test = written(tmp_path, "test.csv", GA4_HEADER + rows)
    trial, _ = read_exports(train, test)
    assert asked(trial) == [(["Mug"], ["Cap"], "7.1", 1)]
    assert [event.visitor for event in trial.earlier] == ["7.1"]


def test_retail_asks_for_what_is_new_in_the_next_order(tmp_path):
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    rows = [
        "1,10001a,MUG,1,2011-01-05 10:00:00,1,17850.0,France",
        "2,10002,CAP,1,2011-01-06 10:00:00,1,17850.0,France",
        "C3,10003,BAG,-1,2011-01-07 10:00:00,1,17850.0,France",
        "4,POST,POSTAGE,1,2011-01-08 10:00:00,1,17850.0,France",
        "5,10002,CAP,1,2011-12-01 10:00:00,1,17850.0,France",
        "5,10004,PEN,1,2011-12-01 10:00:00,1,17850.0,France",
        "6,10005,INK,1,2011-12-02 10:00:00,1,17850.0,France",
        "7,10005,INK,1,2011-12-02 10:00:00,1,99999.0,France",
    ]
    path = written(tmp_path, "retail.csv", header + "\n".join(rows) + "\n")
    trial = read_retail(path, test_days=61)
    assert asked(trial) == [(["10001A", "10002"], ["unknown"], "visitor-17850", 0)]
    assert trial.bars_history
    assert trial.train.at_s.tolist() == [1_294_221_600, 1_294_308_000]
    assert trial.train.kind.tolist() == [InteractionKind.ORDER] * 2
    assert [(event.order_id, event.action) for event in trial.earlier] == [
        ("1", Action.ORDER), ("2", Action.ORDER),
    ]  # fmt: skip


def test_retail_keeps_the_lines_of_an_order_together(tmp_path):
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    rows = [f"{n},1000{n}{k},X,1,2011-01-05 10:00:00,1,1785{n}.0,France" for k in "AB" for n in (1, 2)]
    rows += [f"9,20000,X,1,2011-12-01 10:00:00,1,1785{n}.0,France" for n in (1, 2)]
    trial = read_retail(written(tmp_path, "retail.csv", header + "\n".join(rows) + "\n"), test_days=30)
    assert [[line.item for line in event.lines] for event in trial.earlier] == [
        ["10001A", "10001B"], ["10002A", "10002B"],
    ]  # fmt: skip
    assert not trial.train.tells_order


def test_a_wrong_invoice_line_is_told_with_its_place(tmp_path):
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    path = written(tmp_path, "retail.csv", header + "1,10001a,MUG,one,2011-01-05 10:00:00,1,17850.0,France\n")
    with pytest.raises(WrongFile, match=r"^Expected an invoice line, got .*'one' - in `.*` line 2$"):
        read_retail(path, test_days=61)


def test_globo_keeps_the_sessions_of_the_last_day_for_the_test(tmp_path):
    header = "user_id,session_id,session_start,session_size,click_article_id,click_timestamp\n"
    day_ms = 86_400_000
    rows = [f"1,s{n},{n * day_ms},2,{n}{place},{n * day_ms + place}" for n in (1, 2) for place in (1, 2)]
    source = written(tmp_path, "clicks.csv", header + "\n".join(rows) + "\n")
    train, test = tmp_path / "train.tsv", tmp_path / "test.tsv"
    assert convert(source, train, test) == (2, 2)
    assert asked(read_tsv(train, test)) == [(["unknown"], ["unknown"], "visitor-s2", 1)]

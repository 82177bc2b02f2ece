"""Tables in the results of a hand's tools (ours)."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from agents.hands.tables import TABLES, WaitingTables, preview, table_result, take_tables


def test_a_preview_shows_the_whole_of_a_small_table_in_markdown() -> None:
    table = pa.table({"month": ["2026-01", None], "revenue": [Decimal("10.50"), Decimal("0.07")]})
    assert preview(table) == "\n".join(
        ["| month | revenue |", "| --- | --- |", "| 2026-01 | 10.50 |", "|  | 0.07 |", "", "(2 rows)"]
    )


def test_a_preview_is_bounded_in_rows_in_characters_and_in_columns() -> None:
    assert preview(pa.table({"n": range(100)}), rows=3).endswith("| 2 |\n\n(3 of 100 rows shown)")
    by_size = preview(pa.table({"n": ["x" * 50] * 100}), rows=100, characters=300)
    assert by_size.count("x" * 50) == 5
    assert by_size.endswith("(5 of 100 rows shown)")
    wide = preview(pa.table({f"c{number}": [number] for number in range(40)}))
    assert wide.endswith("| 29 |\n\n(1 row, 30 of 40 columns shown)")


def test_a_cell_can_not_break_the_table_nor_fill_it() -> None:
    text = preview(pa.table({"a|b": ["one\n| two", "y" * 500]}))
    header, _, first, second = text.splitlines()[:4]
    assert header == "| a\\|b |"
    assert first == "| one \\| two |"
    assert len(second) == 64
    assert second.endswith("… |")


def test_columns_of_one_name_are_told_apart() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "| 1 | 2 |" in preview(table)


def test_the_whole_table_is_taken_once_by_what_the_result_names() -> None:
    waiting = WaitingTables()
    table = pa.table({"n": range(100)})
    result = table_result(table, title="Numbers", waiting=waiting)
    assert result.content[0].text.startswith("Numbers\n\n| n |")
    taken = take_tables(result.meta, waiting=waiting)
    assert len(taken) == 1
    assert taken[0] is table
    assert take_tables(result.meta, waiting=waiting) == []


def test_names_from_elsewhere_take_nothing() -> None:
    assert take_tables(None) == take_tables({TABLES: "tbl_1"}) == take_tables({TABLES: [1, "tbl_unknown"]}) == []


def test_tables_that_nobody_takes_go_oldest_first_by_number_and_by_size() -> None:
    waiting = WaitingTables(most=2, most_bytes=1000)
    small = pa.table({"n": pa.array([1], pa.int64())})
    names = [waiting.put(small) for _ in range(3)]
    assert [waiting.take(name) is small for name in names] == [False, True, True]
    first, second = waiting.put(small), waiting.put(pa.table({"n": pa.array(range(124), pa.int64())}))
    assert waiting.take(first) is small
    assert waiting.take(second) is not None
    assert waiting.take(waiting.put(pa.table({"n": pa.array(range(126), pa.int64())}))) is None

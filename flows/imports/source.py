"""A file from outside: opened by what it contains, read row by row in bounded memory."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import msgspec

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Longer lines are told as problems; a log record holds 8 MiB."""
BROKEN_ARCHIVE = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged `.gz` raises, at any point of the file."""
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a line can raise; the last for arrays in arrays in arrays, a thousand deep."""
_GZIP_MAGIC = b"\x1f\x8b"


class RowProblem(msgspec.Struct, frozen=True):
    """A row that could not be taken; the rows around it are."""

    line: int
    """Line of the file from 1; in XML: the how-manieth item."""
    field: str
    """"" where the row as a whole is meant."""
    expected: str
    got: str
    item_id: str = ""
    """Which item of a catalogue feed it is about, where the row still said so."""

    def __str__(self) -> str:
        where = f" - at `{self.field}`" if self.field else ""
        return f"line {self.line}: Expected {self.expected}, got {self.got}{where}"


class UnknownFormat(ValueError):
    """The file is none of the formats a reader knows. Says which file, what was expected, what came."""


def unknown_format(path: Path, expected: str, head: bytes) -> NoReturn:
    """Raise UnknownFormat, showing how the file begins."""
    shown = head[:60].decode("utf-8", "replace").split("\n")[0] if head.strip() else "nothing"
    raise UnknownFormat(f"Expected {expected}, got `{shown}` - in `{path}`")


def open_rows(path: Path) -> BinaryIO:
    """The file's bytes, unpacked where its first bytes say gzip, whatever it is called."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


def head_of(path: Path, size_bytes: int = 65_536) -> bytes:
    """The beginning of the content, in UTF-8 without its byte order mark: what formats are told by."""
    with open_rows(path) as stream:
        try:
            head = stream.read(size_bytes)
        except BROKEN_ARCHIVE:
            return b""
    return head.decode(_encoding(head), "replace").encode()


def _encoding(head: bytes) -> str:
    # Spreadsheets save "Unicode text" as UTF-16 and mark UTF-8 with a byte order mark.
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_lines(path: Path) -> Iterator[tuple[int, bytes | RowProblem]]:
    """Line numbers and lines; blank ones are left out."""
    number = 0
    with open_rows(path) as stream:
        try:
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    size = len(line) + _skip_line(stream)
                    yield number, RowProblem(number, "", f"at most {MAX_LINE_BYTES} bytes", f"{size} bytes")
                    continue
                line = line.strip() if number > 1 else line.removeprefix(codecs.BOM_UTF8).strip()
                if line:
                    yield number, line
        except BROKEN_ARCHIVE as error:
            yield number + 1, cut_off(number + 1, error)


def _skip_line(stream: BinaryIO) -> int:
    size = 0
    while part := stream.readline(1 << 16):
        size += len(part)
        if part.endswith(b"\n"):
            break
    return size


def read_table(
    path: Path, delimiter: str, *, keeps_wrong_bytes: bool = False
) -> Iterator[tuple[int, list[str] | RowProblem]]:
    """Line numbers and cells of a CSV or TSV file, its header first; blank rows are left out.

    A cell holds at most 128 Ki characters (the csv module's limit). What is no UTF-8 becomes U+FFFD, or comes
    as lone surrogates (`surrogateescape`) for `keeps_wrong_bytes`."""
    with open_rows(path) as stream:
        # gzip streams cannot be peeked at on every Python: the encoding comes from a second look.
        encoding = _encoding(_first_bytes(path))
        errors = "surrogateescape" if keeps_wrong_bytes and encoding != "utf-16" else "replace"
        text = io.TextIOWrapper(stream, encoding, errors, newline="")
        reader = csv.reader(iter(lambda: text.readline(MAX_LINE_BYTES), ""), delimiter=delimiter)
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:  # noqa: PERF203 - a bad row must not end the file
                yield reader.line_num, RowProblem(reader.line_num, "", "a row of a table", str(error))
            except BROKEN_ARCHIVE as error:
                yield reader.line_num, cut_off(reader.line_num + 1, error)
                return
            else:
                if cells is None:
                    return
                if cells:
                    yield reader.line_num, cells


def _first_bytes(path: Path) -> bytes:
    with open_rows(path) as stream:
        try:
            return stream.read(4)
        except BROKEN_ARCHIVE:
            return b""


def cut_off(line: int, error: Exception) -> RowProblem:
    """The problem of a damaged archive: everything behind it is missing."""
    return RowProblem(line, "", "the rest of a gzip file", str(error) or type(error).__name__)


def problem_of(error: Exception, line: int) -> RowProblem:
    """What msgspec said of a line (one of `BAD_JSON`), taken apart."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return RowProblem(line, "", "JSON in UTF-8", text)
    what, _, field = text.partition(" - at `")
    expected, comma, got = what.removeprefix("Expected ").partition(", got ")
    if not comma:  # "Object missing required field `event_name`", "Invalid number"
        expected, got = "a valid value", what
    return RowProblem(line, field.rstrip("`").removeprefix("$").lstrip("."), expected, got)

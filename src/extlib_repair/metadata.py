"""METADATA, WHEEL and RECORD: bytes -> bytes, with all other bytes kept.

The first two are header blocks in the manner of e-mail (core metadata specification): lines
``Name: value``, folded lines begin with a space or tab, the block ends at the first empty line.
RECORD is CSV (binary distribution format, "The .dist-info directory").
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from extlib_repair.errors import BadWheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(r"\r\n|\r|\n")
# What email.feedparser takes for a part of the headers: it skips a line without a name, an
# envelope line, and a continuation of nothing, and goes on.
_FIELD = re.compile(rb"[!-9;-~]*:|From |[ \t]")
_WHOLE_DIGEST = re.compile(r"sha256=[\w-]{43}", re.ASCII)
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")


class _Header(NamedTuple):
    """One header with its continuation lines; ``raw`` includes the line ends."""

    name: str
    value: str
    raw: bytes


class RecordRow(NamedTuple):
    """A line of RECORD."""

    path: str
    digest: str
    size: str


def requirements(metadata: bytes) -> tuple[str, ...]:
    r"""Return the values of ``Requires-Dist`` in METADATA, unfolded, in order.

    >>> requirements(b"Name: a\nRequires-Dist: b>=2 ;\n extra == 'x'\n\nRequires-Dist: no\n")
    ("b>=2 ; extra == 'x'",)
    """
    headers, _ = _split(metadata)
    return tuple(h.value for h in headers if h.name == "requires-dist")


def with_requirements(metadata: bytes, wanted: Sequence[str]) -> bytes:
    """Return METADATA whose ``Requires-Dist`` values are ``wanted``, in that order.

    ``wanted`` holds as many values as there are, changed or not, and new ones behind them. Lines
    whose value stays keep their bytes; new lines follow the last of their kind, else the last
    header.
    """
    headers, rest = _split(metadata)
    end = _line_end(headers)
    out: list[bytes] = []
    values = iter(wanted)
    last = 0
    for header in headers:
        if header.name == "requires-dist":
            out.append(_kept(header, next(values), end))
            last = len(out)
        else:
            out.append(header.raw)
    last = last or len(out)
    new = [b"Requires-Dist: " + value.encode() + end for value in values]
    return _joined([*out[:last], *new, *out[last:]], end) + rest


def with_tags(wheel: bytes, wanted: Sequence[str]) -> bytes:
    """Return WHEEL with these ``Tag`` lines in the place of the first old one."""
    headers, rest = _split(wheel)
    end = _line_end(headers)
    new = [f"Tag: {tag}".encode() + end for tag in wanted]
    out: list[bytes] = []
    for header in headers:
        if header.name == "tag":
            out += new
            new = []
        else:
            out.append(header.raw)
    return _joined([*out, *new], end) + rest


def is_purelib(wheel: bytes) -> bool:
    """Return ``Root-Is-Purelib`` of WHEEL; the first header counts, as in installers."""
    headers, _ = _split(wheel)
    values = [h.value.strip().lower() for h in headers if h.name == "root-is-purelib"]
    return bool(values) and values[0] == "true"


def tags(wheel: bytes) -> tuple[str, ...]:
    """Return the ``Tag`` values of WHEEL, in order."""
    headers, _ = _split(wheel)
    return tuple(h.value for h in headers if h.name == "tag")


def platforms(wheel: bytes) -> tuple[str, ...]:
    """Return the platform tags of WHEEL, each once, in order."""
    return tuple(dict.fromkeys(tag.rpartition("-")[2] for tag in tags(wheel)))


def header(block: bytes, name: str) -> str:
    """Return the first value of a header, or the empty string."""
    headers, _ = _split(block)
    return next((h.value.strip() for h in headers if h.name == name.lower()), "")


def _kept(old: _Header, value: str, end: bytes) -> bytes:
    return old.raw if old.value == value else b"Requires-Dist: " + value.encode() + end


def _line_end(headers: Sequence[_Header]) -> bytes:
    """Return how the first line ends, whose manner new lines follow."""
    found = _LINE_END.search(headers[0].raw.decode("latin-1")) if headers else None
    return found[0].encode() if found else b"\n"


def _joined(lines: Sequence[bytes], end: bytes) -> bytes:
    """Join lines; the end that the last line of a file may lack is added when others follow."""
    whole = [line if line.endswith((b"\n", b"\r")) else line + end for line in lines[:-1]]
    return b"".join([*whole, *lines[-1:]])


def _split(block: bytes) -> tuple[list[_Header], bytes]:
    """Return the headers, and everything from the first line on that is none.

    That is an empty line, or one without a name: readers of e-mail end the headers there too.
    """
    raws: list[bytes] = []
    rest = b""
    for match in _LINE.finditer(block):
        line = match[0]
        if line[:1] in (b" ", b"\t") and raws:
            raws[-1] += line
        elif _FIELD.match(line):
            raws.append(line)
        else:
            rest = block[match.start() :]
            break
    return [_parse(raw) for raw in raws], rest


def _parse(raw: bytes) -> _Header:
    name, _, value = raw.decode("utf-8", "replace").partition(":")
    pieces = (piece.strip() for piece in _LINE_END.split(value))
    return _Header(name.lower(), " ".join(piece for piece in pieces if piece), raw)


def record_rows(record: bytes) -> tuple[RecordRow, ...]:
    """Parse RECORD; raises :class:`BadWheelError`."""
    try:
        rows = [row for row in csv.reader(io.StringIO(record.decode(), newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadWheelError(f"RECORD cannot be read: {error}") from None
    if any(len(row) != len(RecordRow._fields) for row in rows):
        raise BadWheelError("RECORD has a line that does not have three fields")
    return tuple(RecordRow(*row) for row in rows)


def record(rows: Iterable[RecordRow]) -> bytes:
    """Return the bytes of a RECORD."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def record_row(path: str, data: bytes) -> RecordRow:
    """Return the line for a file: SHA-256, URL-safe base64 without padding, and the size."""
    return record_row_of(path, hashlib.sha256(data).digest(), len(data))


def record_row_of(path: str, digest: bytes, size: int) -> RecordRow:
    """Return the line for a file of this SHA-256 and size."""
    text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return RecordRow(path, f"sha256={text}", str(size))


def is_complete(row: RecordRow) -> bool:
    """Whether a line has a size and the digest that :func:`record_row` writes.

    Others are allowed, but not all installers can check them.
    """
    return row.size.isdecimal() and bool(_WHOLE_DIGEST.fullmatch(row.digest))


def updated_record(
    rows: Iterable[RecordRow], changed: Mapping[str, RecordRow], members: Iterable[str]
) -> tuple[RecordRow, ...]:
    """Return the rows for these members: changed ones in their old place, new ones at the end.

    Each member has one row, which must be in ``rows`` or in ``changed``. The row of RECORD itself,
    without digest, comes last; signatures of RECORD have none.
    """
    files = dict.fromkeys(members)
    own = [path for path in files if _in_dist_info(path, ("RECORD",))]
    known = {**{row.path: row for row in rows}, **changed}
    listed = [row for path, row in known.items() if path in files and path not in own]
    return (*listed, *(RecordRow(path, "", "") for path in own))


def is_signature(member: str) -> bool:
    """Whether a member signs RECORD, which no longer fits once RECORD has changed."""
    return _in_dist_info(member, _SIGNATURES)


def _in_dist_info(member: str, names: Iterable[str]) -> bool:
    folder, _, name = member.partition("/")
    return folder.endswith(".dist-info") and name in names

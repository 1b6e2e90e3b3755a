r"""Python files with the loader's lines in them: bytes -> bytes. Pure.

The lines come behind what must come first: the first comments (which may name the encoding, PEP
263), the docstring, and the imports from ``__future__``. Files are read by tokens and no further
than that place, since a file may be written for a newer Python than the one that runs us.

Lines are counted as Python counts them, by ``\n``, ``\r\n`` and ``\r``, and only bytes are put
together again.
"""

from __future__ import annotations

import dataclasses
import re
import tokenize
from codecs import BOM_UTF8
from typing import TYPE_CHECKING

from extlib_repair.errors import CannotEditError
from extlib_repair.loader.text import END, START

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from tokenize import TokenInfo

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_PLAIN = bytes({*range(0x20, 0x7F)} - {0x5C}) + b"\t\f\r\\\n"
"""The bytes of Python's own syntax, which must mean the same in a file's encoding."""

_HINT = "if the file is written for a newer Python, run extlib-repair with that one"

_MARKS = [START, END]
_FUTURE = ["from", "__future__", "import"]
_TEXT = re.compile(r"[rRuU]?['\"]")
"""The start of a string that can be a docstring: neither bytes nor an f-string."""


def inserted(source: bytes, block: str) -> bytes:
    """Return a Python file with the loader's lines, in the place of those that it has already.

    Lines that stand behind code are taken away from there. Every other byte stays, and the lines
    end as the file's do. Where the file's last line has no end and ours come behind it, ours have
    none either: so they can be taken away again.
    """
    file = read(source)
    there = _block(file)
    if there is not None and _prefix(file).first_other <= there[0]:
        file = _without(file, *there)
        there = None
    start, stop = there or (_place(file),) * 2
    before, after = b"".join(file.lines[:start]), b"".join(file.lines[stop:])
    end = _line_end(file.lines)
    ours = block.encode("ascii").replace(b"\n", end)
    if start < stop and not _has_end(file.lines[stop - 1]):
        ours = ours.removesuffix(end)
    elif before and not _has_end(before):
        ours = end + ours.removesuffix(end)
    return file.mark + before + ours + after


def found(source: bytes) -> str | None:
    r"""Return the loader's lines as they stand in a file, with ``\n`` ends; None without them.

    A file that cannot be read has none.
    """
    try:
        file = read(source)
        place = _block(file)
    except CannotEditError:
        return None
    return "".join(file.text[slice(*place)]).removesuffix("\n") + "\n" if place else None


def comes_first(source: bytes) -> bool:
    """Whether nothing that does something stands before the loader's lines."""
    try:
        file = read(source)
        place = _block(file)
        return place is not None and _prefix(file).first_other > place[0]
    except CannotEditError:
        return False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A Python file, as lines."""

    mark: bytes
    """The byte order mark, or nothing."""

    lines: Sequence[bytes]
    text: Sequence[str]
    r"""The same lines, ending in ``\n``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Prefix:
    """What may stand before the loader's lines. Rows are counted from 0."""

    stop: int
    """The row behind the docstring and the imports from ``__future__``; 0 without them."""

    first_other: int
    """The row of the first statement that is neither."""


def read(source: bytes) -> File:
    """Return a file's lines, or raise CannotEditError where Python could not decode them."""
    mark = BOM_UTF8 if source.startswith(BOM_UTF8) else b""
    lines = _LINE.findall(source.removeprefix(mark))
    rest = iter([mark + b"".join(lines[:1]), *lines[1:]])
    try:
        encoding, _ = tokenize.detect_encoding(lambda: _LINE_END.sub(b"\n", next(rest, b"")))
        if _PLAIN.decode(encoding) != _PLAIN.decode("ascii"):
            raise CannotEditError(
                f"is encoded as {encoding}, in which ASCII means something else",
                hint="store the file as UTF-8",
            )
        text = [re.sub(r"\r\n?$", "\n", line.decode(encoding)) for line in lines]
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise CannotEditError(
            f"cannot be decoded: {error}", hint="store the file as UTF-8, or name its encoding"
        ) from error
    return File(mark=mark, lines=lines, text=text)


def _without(file: File, start: int, stop: int) -> File:
    return dataclasses.replace(
        file,
        lines=[*file.lines[:start], *file.lines[stop:]],
        text=[*file.text[:start], *file.text[stop:]],
    )


def _line_end(lines: Sequence[bytes]) -> bytes:
    r"""Return the end of the first line, or ``\n`` where no line has one."""
    match = _LINE_END.search(lines[0]) if lines else None
    return match.group() if match else b"\n"


def _has_end(line: bytes) -> bool:
    return line.endswith((b"\r", b"\n"))


def _block(file: File) -> tuple[int, int] | None:
    """Return the row of the loader's first line and the row behind its last one."""
    candidates = [row for row, line in enumerate(file.text) if line.rstrip("\n") in _MARKS]
    comments = _comments(file.text, candidates[-1]) if candidates else frozenset()
    rows = [row for row in candidates if row in comments]
    if not rows:
        return None
    if [file.text[row].rstrip("\n") for row in rows] != _MARKS:
        raise CannotEditError(
            f"does not hold the loader's marks once and in order: {START!r}, {END!r}",
            hint="take the marks out, and what is left of the loader with them",
        )
    return rows[0], rows[1] + 1


def _comments(text: Sequence[str], last: int) -> frozenset[int]:
    """Return the rows of comments, up to a row: a mark within a string is none."""
    found_rows: set[int] = set()
    for token in tokens(text):
        if token.start[0] - 1 > last:
            break
        if token.type == tokenize.COMMENT:
            found_rows.add(token.start[0] - 1)
    return frozenset(found_rows)


def _place(file: File) -> int:
    """Return the row before which the loader's lines belong."""
    prefix = _prefix(file)
    return prefix.stop or _first_comments(file.lines[: prefix.first_other])


def _first_comments(lines: Sequence[bytes]) -> int:
    """Return the row behind the first comments: a shebang, an encoding, a licence."""
    start = next((row for row, line in enumerate(lines) if line.strip()), 0)
    comments = (row for row in range(start, len(lines)) if not _is_comment(lines[row]))
    stop = next(comments, len(lines))
    return stop if stop > start else 0


def _is_comment(line: bytes) -> bool:
    return line.lstrip().startswith(b"#")


def _prefix(file: File) -> _Prefix:
    stop = 0
    for line in _logical_lines(file.text):
        row = line[0].start[0] - 1
        may_come_before = [
            _is_future(statement) or (stop == 0 and i == 0 and _is_docstring(statement))
            for i, statement in enumerate(statements(line))
        ]
        if not any(may_come_before[:1]):
            return _Prefix(stop=stop, first_other=row)
        if not all(may_come_before):
            raise CannotEditError(
                f"has code behind the docstring or an import from __future__, in line {row + 1}",
                hint="give that code a line of its own",
            )
        stop = line[-1].start[0]
    return _Prefix(stop=stop, first_other=len(file.lines))


def _logical_lines(text: Sequence[str]) -> Iterator[list[TokenInfo]]:
    """Yield the tokens of logical lines; of one that must come later, only the first token."""
    line: list[TokenInfo] = []
    for token in tokens(text):
        if token.type in {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}:
            continue
        if token.type == tokenize.NEWLINE and not line:
            continue  # nothing but a backslash stands before it
        line.append(token)
        if token.type == tokenize.NEWLINE:
            yield line
            line = []
        elif len(line) == 1 and token.type != tokenize.STRING and token.string not in {"(", "from"}:
            yield line
            return


def statements(line: Sequence[TokenInfo]) -> list[list[TokenInfo]]:
    """Return the simple statements of a logical line, without what ends them."""
    found_statements: list[list[TokenInfo]] = [[]]
    for token in line:
        if token.string == ";":
            found_statements.append([])
        elif token.type != tokenize.NEWLINE:
            found_statements[-1].append(token)
    return [statement for statement in found_statements if statement]


def _is_future(statement: Sequence[TokenInfo]) -> bool:
    return [token.string for token in statement[:3]] == _FUTURE


def _is_docstring(statement: Sequence[TokenInfo]) -> bool:
    """Whether a statement is a string: several in a row are one, and parentheses change nothing."""
    while statement[0].string == "(" and statement[-1].string == ")":
        statement = statement[1:-1] or statement[:1]
    return all(t.type == tokenize.STRING and _TEXT.match(t.string) for t in statement)


def tokens(text: Sequence[str]) -> Iterator[TokenInfo]:
    """Yield the tokens of a file, or raise CannotEditError where they cannot be read."""
    rest = iter(text)
    try:
        for token in tokenize.generate_tokens(lambda: next(rest, "")):
            if token.type == tokenize.ERRORTOKEN:
                raise CannotEditError(
                    f"cannot be read in line {token.start[0]}: {token.string!r}", hint=_HINT
                )
            yield token
    except (tokenize.TokenError, SyntaxError) as error:
        raise CannotEditError(f"cannot be read: {error.args[0]}", hint=_HINT) from error

"""The loader's lines go into Python files of all kinds, and nothing else of these changes."""

from __future__ import annotations

import ast
import re
import sysconfig
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extlib_repair.errors import CannotEditError
from extlib_repair.loader import Sought, Way, block, comes_first, found, inserted
from extlib_repair.loader.text import END, START
from extlib_repair.model import SitePath

if TYPE_CHECKING:
    from collections.abc import Iterator

SOUGHT = Sought(library="prov.dll", directory=SitePath("prov/lib"), requirement="prov>=1.0")
BLOCK = block(SitePath("demo/__init__.py"), "demo 1.0", [SOUGHT], Way.WINDOWS)
OLD = f"{START}\n# older\nprint()\n{END}\n"
STDLIB = [
    path
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/__init__.py"))
    if "site-packages" not in path.parts and path.stat().st_size
]


def removed(source: bytes) -> bytes:
    """Return a file without the loader, by means of its own."""
    end = rb"(\r\n|\r|\n|)"
    ours = rb"(?:\r\n|\r|\n)".join(re.escape(line.encode()) for line in BLOCK.splitlines())
    return re.sub(end + ours + end, lambda match: match[1] if match[2] else b"", source, count=1)


def keeps_its_laws(source: bytes) -> bytes:
    """Check what is promised of every file, and return the file with the loader."""
    done = inserted(source, BLOCK)

    assert removed(done) == source
    assert found(done) == BLOCK
    assert comes_first(done)
    assert inserted(done, BLOCK) == done
    assert inserted(inserted(done, OLD), BLOCK) == done
    assert found(inserted(done, OLD)) == OLD
    return done


def keeps_its_meaning(source: bytes) -> None:
    done = ast.parse(keeps_its_laws(source))
    before = ast.parse(source)
    names = [getattr(node, "name", "") for node in done.body]
    start = names.index("_extlib_repair_load")
    lines = done.body[start : start + 3]
    del done.body[start : start + 3]

    assert [type(node) for node in lines] == [ast.FunctionDef, ast.Expr, ast.Delete]
    assert ast.dump(done) == ast.dump(before)
    assert ast.get_docstring(done, clean=False) == ast.get_docstring(before, clean=False)
    compile(inserted(source, BLOCK), "x.py", "exec", dont_inherit=True)


B = "<loader>"
"""Where the lines are expected."""


@pytest.mark.parametrize(
    "text",
    [
        B,
        f"{B}import os\n",
        f"{B}\n\nimport os\n",
        f"# only\n{B}",
        f"# first\n# second\n{B}",
        f"#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n{B}import os\n",
        f"\n# -*- coding: latin-1 -*-\n{B}import os\n",
        f"# licence\n{B}\n# of the import\nimport os\n",
        f"\f\n  # indented\n\t# tab\n{B}import os\n",
        f'"""doc"""\n{B}',
        f'"""doc"""\n{B}\n# comment\nimport os\n',
        f"'doc'  # comment\n{B}x = 1\n",
        f'# licence\n\n"""doc\n\nmore\n"""\n{B}\nimport os\n',
        f'"""doc"""\n\n\n# comment\nfrom __future__ import annotations\n{B}\nimport os\n',
        f"from __future__ import (\n    annotations,  # why\n    division,\n)\n{B}import os\n",
        f"from __future__ import annotations, \\\n    division\n{B}import os\n",
        f"from \\\n  __future__ import division\n{B}",
        f"'doc';\nfrom __future__ import division;\n{B}import os\n",
        f"'doc'; from __future__ import division; from __future__ import annotations\n{B}",
        f"'one' \"two\" \\\n  u'three'\n{B}import os\n",
        f"('one'\n 'two')\n{B}import os\n",
        f"(('one'))\n{B}import os\n",
        f"r'''doc'''\n{B}import os\n",
        f"'doc' \\\n\n{B}import os\n",
        f"\\\n\n'doc'\n{B}import os\n",
        f"\f'doc'\n{B}\f\nimport os\n",
        f"{B}b'bytes'\n",
        f"{B}rb'bytes'\n",
        f"{B}f'{{1}}'\n",
        f"{B}'a' f'{{1}}'\n",
        f"{B}'a' + 'b'\n",
        f"{B}'a', 'b'\n",
        f"{B}('a', 'b')\n",
        f"{B}()\n",
        f"{B}from os import path\n",
        f"{B}if True:\n\timport os\n",
        f"{B}@property\ndef f(): pass\n",
        f"{B}\\\nimport os\n",
        f"{B}x = 1; y = 2\n",
        f"'doc'\n{B}'no doc'\nimport os\n",
        f"'doc'\n{B}x = '''\n{START}\n{END}\n'''\n",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_place(text: str, end: str, mark: bytes) -> None:
    if mark and "latin" in text:
        return
    source = mark + text.replace(B, "").replace("\n", end).encode()
    expected = mark + text.replace(B, BLOCK).replace("\n", end).encode()
    if not source.removeprefix(mark):
        expected = mark + BLOCK.encode()  # nothing has no style

    assert inserted(source, BLOCK) == expected
    keeps_its_meaning(source)


@pytest.mark.parametrize(
    "text",
    ["# only", "'doc'", "# c\r\n'doc'", "from __future__ import division", "#", "'d';", "\f#"],
)
def test_a_last_line_without_an_end(text: str) -> None:
    end = "\r\n" if "\r" in text else "\n"
    lines = BLOCK.removesuffix("\n").replace("\n", end)

    assert inserted(text.encode(), BLOCK) == f"{text}{end}{lines}".encode()
    keeps_its_meaning(text.encode())


def test_a_file_of_white_space_alone() -> None:
    assert inserted(b"  ", BLOCK) == BLOCK.encode() + b"  "
    assert removed(inserted(b"  ", BLOCK)) == b"  "


def test_the_style_is_that_of_the_first_line() -> None:
    done = inserted(b"'doc'\r\nx = 1\ny = 2\r", BLOCK)

    assert done == b"'doc'\r\n" + BLOCK.replace("\n", "\r\n").encode() + b"x = 1\ny = 2\r"


@pytest.mark.parametrize("old", [OLD, BLOCK, f"{START}\n{END}\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("after", ["", "import os", "\nimport os\n"])
def test_an_older_loader_is_replaced_where_it_stands(old: str, end: str, after: str) -> None:
    source = f"'doc'\n# where\n\n{old}{after}".replace("\n", end).encode()
    expected = f"'doc'\n# where\n\n{BLOCK}{after}".replace("\n", end).encode()

    assert inserted(source, BLOCK) == expected
    assert found(source) == old
    assert comes_first(source)


@pytest.mark.parametrize("old", [OLD, BLOCK])
@pytest.mark.parametrize("after", ["", "\nimport sys\n"])
def test_a_loader_that_comes_too_late_is_moved(old: str, after: str) -> None:
    source = f"'doc'\nimport os\n{old}{after}".encode()

    assert not comes_first(source)
    assert inserted(source, BLOCK) == f"'doc'\n{BLOCK}import os\n{after}".encode()


def test_a_last_mark_without_an_end_stays_so() -> None:
    assert inserted(f"'doc'\n{OLD}"[:-1].encode(), BLOCK) == f"'doc'\n{BLOCK}"[:-1].encode()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (f"# c\n'doc'\nfrom __future__ import division\n\n{OLD}", True),
        (f"{OLD}'doc'\n", True),
        (f"import os\n{OLD}", False),
        (f"'doc'\nimport os\n{OLD}", False),
        (f"f'doc'\n{OLD}", False),
        (f"'doc'; import os\n{OLD}", False),
        (f"('doc'\n{OLD})", False),
        (f"if 1:\n  pass\n{OLD}", False),
        ("'doc'\n", False),
        (f"x = '''\n{OLD}'''\n", False),
        (f"#c\xfc\n{OLD}", True),
    ],
)
def test_whether_it_comes_first(text: str, *, first: bool) -> None:
    assert comes_first(text.encode()) is first


@pytest.mark.parametrize(
    "text",
    [START, END, f"{END}\n{START}", f"{START}\n{START}\n{END}", f"{OLD}{OLD}", f"{OLD}{END}"],
)
def test_half_a_loader_is_refused(text: str) -> None:
    with pytest.raises(CannotEditError, match="marks once and in order"):
        inserted(text.encode(), BLOCK)
    assert found(text.encode()) is None
    assert not comes_first(text.encode())


@pytest.mark.parametrize(
    "text", [f"  {START}\n", f"{START} \n", f"x = 1  {END}\n", f"'''\n{START}\n'''\n"]
)
def test_what_only_looks_like_a_mark_is_none(text: str) -> None:
    assert found(text.encode()) is None
    assert found(inserted(text.encode(), BLOCK)) == BLOCK


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            b"'doc'; import os\n",
            "code behind the docstring or an import from __future__, in line 1",
        ),
        (b"\n'doc'; x = 1; y = 2\n", "line 2"),
        (b"'doc'\nfrom __future__ import division; import os\n", "line 2"),
        (b"'doc'; 'no doc'\n", "line 1"),
        (b"x = '\xff'\n", "cannot be decoded: "),
        (b"x = 1\n" * 9 + b"'\xff'\n", "cannot be decoded: 'utf-8' codec can't decode"),
        (b"# coding: no-such\n", "cannot be decoded: unknown encoding: no-such"),
        (b"# coding: rot13\n", "cannot be decoded: 'rot13' is not a text encoding"),
        (b"# coding: ascii\n\n\nx = '\xc3\xbc'\n", "'ascii' codec can't decode"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "cannot be decoded: encoding problem: utf-8"),
        (b"# coding: utf-16\n", "is encoded as utf-16"),
        (b"# coding: utf-7\n", "is encoded as utf-7, in which ASCII means something else"),
        (b"# coding: cp500\n", "is encoded as cp500"),
        (b"# coding: unicode_escape\n", "is encoded as unicode_escape"),
        (b"'''doc", "cannot be read: "),
        (b"('doc'\n", "cannot be read: "),
        (b"'doc\n", "cannot be read"),
    ],
)
def test_what_is_refused(source: bytes, message: str) -> None:
    with pytest.raises(CannotEditError, match=message) as caught:
        inserted(source, BLOCK)

    assert caught.value.hint
    assert found(source) is None
    assert not comes_first(source)


def test_tokens_that_are_errors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 has them where later ones raise."""

    def tokens(_: object) -> Iterator[tokenize.TokenInfo]:
        yield tokenize.TokenInfo(tokenize.ERRORTOKEN, "'", (1, 0), (1, 1), "'doc")

    monkeypatch.setattr(tokenize, "generate_tokens", tokens)

    with pytest.raises(CannotEditError, match="cannot be read in line 1"):
        inserted(b"'doc", BLOCK)


def test_a_mark_behind_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(CannotEditError, match="cannot be read"):
        inserted(f"x = (\n{OLD}".encode(), BLOCK)


@pytest.mark.parametrize(
    "text",
    [
        "x = $\n",
        "type X = int\n",
        "match x:\n  case 1: pass\n",
        "x = (\n",
        "x = '''\n",
        "; x\n",
        "  'doc'\n",
    ],
)
def test_what_comes_behind_is_not_judged(text: str) -> None:
    source = f"'doc'\n{text}".encode()

    assert inserted(source, BLOCK) == f"'doc'\n{BLOCK}{text}".encode()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "\xff\xfe"),
        ("cp1252", "\u20ac"),
        ("shift_jis", "\u8868\u4e88"),  # its second byte is a backslash
        ("euc-jp", "\u3042"),
        ("iso2022_jp", "\u3042\u3044"),
        ("gb18030", "\u3400"),
        ("big5", "\u529f"),
        ("koi8-r", "\u0416"),
        ("utf-8", "\U0001f40d\u2028\x85\x0b\x1c"),  # these end lines for str.splitlines only
    ],
)
def test_encodings_are_kept(encoding: str, text: str) -> None:
    source = f"# coding: {encoding}\n# {text}\n'''{text}\n'''\nx = '{text}'\n".encode(encoding)

    keeps_its_meaning(source)


@pytest.mark.parametrize("path", STDLIB, ids=lambda path: path.parent.name)
def test_the_standard_library(path: Path) -> None:
    keeps_its_meaning(path.read_bytes())


LINES = st.lists(
    st.sampled_from(
        [
            "", " ", "\f", "\t", "# c", "  # c", "#!x", "# coding: utf-8", "# coding: latin-1",
            "'doc'", '"""doc', '"""', "'a' 'b' \\", "('doc'", ")", "b'b'", "f'{1}'", "u'd';",
            "'''", "\\", "from __future__ import division", "from __future__ import (",
            "annotations)", "'d'; from __future__ import division", "import os", "x = 1; y = 2",
            "if x:", "  pass", "x = '''", START, END, "\N{SNOWMAN}", "x = (", ";", "'d'; x",
            "\x00", "$", "?", "\x1a",
        ]
    ),
    max_size=9,
)  # fmt: skip
SOURCES = st.builds(
    lambda mark, lines, end, last: mark + (end.join(lines) + (end if last else "")).encode(),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    LINES,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)


@given(SOURCES | st.binary(max_size=40))
@example(b"\n\r")
def test_any_file_keeps_the_laws_or_is_refused(source: bytes) -> None:
    old = found(source)
    try:
        done = inserted(source, BLOCK)
    except CannotEditError:
        return

    if old is None:
        assert removed(done) == source
        assert comes_first(done)
    assert found(done) == BLOCK
    assert inserted(done, BLOCK) == done
    assert inserted(inserted(done, OLD), BLOCK) == done
    try:
        compile(source, "x.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return
    if old is None:
        keeps_its_meaning(source)

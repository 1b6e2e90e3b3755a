"""METADATA, WHEEL and RECORD: what is read, what is changed, and that nothing else is."""

from __future__ import annotations

import csv
import email
import email.policy
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wheels import record_line

from extlib_repair import metadata
from extlib_repair.errors import BadWheelError
from extlib_repair.metadata import RecordRow

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW = "prov>=2"
LINE = b"Requires-Dist: prov>=2"


def by_email(block: bytes, name: str) -> list[str]:
    """Read the values of a header as the standard library does, unfolded."""
    message = email.message_from_bytes(block, policy=email.policy.compat32)
    return [" ".join(str(v).split()) for v in message.get_all(name, [])]


READINGS = {
    "LF": (b"Name: a\nRequires-Dist: b\nRequires-Dist: c>=2\n\nbody\n", ("b", "c>=2")),
    "CRLF": (b"Name: a\r\nRequires-Dist: b\r\nRequires-Dist: c>=2\r\n\r\nbody\r\n", ("b", "c>=2")),
    "CR": (b"Name: a\rRequires-Dist: b\rRequires-Dist: c>=2\r\rbody\r", ("b", "c>=2")),
    "folded": (b"Requires-Dist: b>=2 ;\n  extra == 'x'\nName: a\n", ("b>=2 ; extra == 'x'",)),
    "folded by tabs and CRLF": (b"Requires-Dist:\r\n\tb\r\n\t>=2\r\n\r\n", ("b >=2",)),
    "folded over a line of spaces": (b"Requires-Dist: b ;\n   \n python_version>'3'\n\n", None),
    "no body": (b"Name: a\nRequires-Dist: b\n", ("b",)),
    "no end of the last line": (b"Name: a\nRequires-Dist: b", ("b",)),
    "none": (b"Name: a\n\nRequires-Dist: not this\n", ()),
    "empty": (b"", ()),
    "only a body": (b"\nRequires-Dist: not this\n", ()),
    "case": (b"REQUIRES-dist:b\nName: a\n", ("b",)),
    "body after a line without a name": (b"Name: a\nno header\nRequires-Dist: no\n", ()),
    "a name with a space ends the headers": (b"Requires-Dist : b\nRequires-Dist: c\n", ()),
    "a line without a name is skipped": (b"Name: a\n: x\n y\nRequires-Dist: b\n\n", ("b",)),
    "a continuation of nothing is skipped": (b" x: y\nRequires-Dist: b\n\n", ("b",)),
    "an envelope is skipped": (b"From me\nRequires-Dist: b\n\n", ("b",)),
    "a byte order mark makes a body": (b"\xef\xbb\xbfName: a\nRequires-Dist: no\n", ()),
    "a hidden line end": (b"Summary: x\rRequires-Dist: b\nName: a\n\n", ("b",)),
    "other line ends of Unicode are none": (
        "Summary: x\u2028Requires-Dist: no\x0bRequires-Dist: no\n\n".encode(),
        (),
    ),
    "UTF-8": ("Author: Ä\nRequires-Dist: b\n\nß Requires-Dist: no\n".encode(), ("b",)),
    "not UTF-8": (b"Author: \xc4\nRequires-Dist: b\n\n\xdf\n", ("b",)),
}


@pytest.mark.parametrize(("block", "expected"), READINGS.values(), ids=READINGS.keys())
def test_requirements_are_read_as_the_email_module_reads_them(
    block: bytes, expected: tuple[str, ...] | None
) -> None:
    found = metadata.requirements(block)

    assert [" ".join(v.split()) for v in found] == by_email(block, "Requires-Dist")
    assert expected is None or found == expected


INSERTIONS = {
    "behind the others": (
        b"Name: a\nRequires-Dist: b\nSummary: s\n\nbody\n",
        b"Name: a\nRequires-Dist: b\nRequires-Dist: prov>=2\nSummary: s\n\nbody\n",
    ),
    "behind a folded one": (
        b"Requires-Dist: b ;\n extra == 'x'\nName: a\n\n",
        b"Requires-Dist: b ;\n extra == 'x'\nRequires-Dist: prov>=2\nName: a\n\n",
    ),
    "behind the last header": (
        b"Name: a\nSummary: s\n\nRequires-Dist: no\n",
        b"Name: a\nSummary: s\nRequires-Dist: prov>=2\n\nRequires-Dist: no\n",
    ),
    "with CRLF": (
        b"Name: a\r\nRequires-Dist: b\r\n\r\nbody\n",
        b"Name: a\r\nRequires-Dist: b\r\nRequires-Dist: prov>=2\r\n\r\nbody\n",
    ),
    "with CR": (b"Name: a\r\rbody", b"Name: a\rRequires-Dist: prov>=2\r\rbody"),
    "with LF although the body has CRLF": (
        b"Name: a\n\r\nbody\r\n",
        b"Name: a\nRequires-Dist: prov>=2\n\r\nbody\r\n",
    ),
    "without a body": (b"Name: a\n", b"Name: a\nRequires-Dist: prov>=2\n"),
    "without an end of the last line": (b"Name: a", b"Name: a\nRequires-Dist: prov>=2\n"),
    "without an end of the last line, CRLF": (
        b"Name: a\r\nRequires-Dist: b",
        b"Name: a\r\nRequires-Dist: b\r\nRequires-Dist: prov>=2\r\n",
    ),
    "without headers": (b"\nbody", b"Requires-Dist: prov>=2\n\nbody"),
    "into nothing": (b"", b"Requires-Dist: prov>=2\n"),
    "with a body that is not UTF-8": (
        b"Name: a\n\n\xff\xfe\r\n\0",
        b"Name: a\nRequires-Dist: prov>=2\n\n\xff\xfe\r\n\0",
    ),
    "in front of a line without a name": (
        b"Name: a\nno header\n",
        b"Name: a\nRequires-Dist: prov>=2\nno header\n",
    ),
}


@pytest.mark.parametrize(("block", "expected"), INSERTIONS.values(), ids=INSERTIONS.keys())
def test_a_requirement_is_inserted(block: bytes, expected: bytes) -> None:
    changed = metadata.with_requirements(block, [*metadata.requirements(block), NEW])

    assert changed == expected
    assert by_email(changed, "Requires-Dist")[-1] == NEW


def test_a_changed_requirement_stays_in_its_place_and_the_others_keep_their_bytes() -> None:
    block = (
        b"Name: a\nREQUIRES-DIST:   b ;\n  extra == 'x'\nRequires-Dist: prov>=1 ;\n extra == 'y'\n"
        b"Summary: s\nRequires-Dist: d\n\nbody\n"
    )

    changed = metadata.with_requirements(block, ["b ; extra == 'x'", "prov>=2", "d", "e"])

    assert changed == (
        b"Name: a\nREQUIRES-DIST:   b ;\n  extra == 'x'\nRequires-Dist: prov>=2\n"
        b"Summary: s\nRequires-Dist: d\nRequires-Dist: e\n\nbody\n"
    )


def test_a_changed_last_line_without_an_end_gets_one() -> None:
    changed = metadata.with_requirements(b"Name: a\nRequires-Dist: b", ["b>=1", "c"])

    assert changed == b"Name: a\nRequires-Dist: b>=1\nRequires-Dist: c\n"


def test_non_ascii_requirements_are_written_as_utf_8() -> None:
    changed = metadata.with_requirements(b"Name: a\n\n", ["b ; platform_version == 'ä'"])

    assert changed == "Name: a\nRequires-Dist: b ; platform_version == 'ä'\n\n".encode()


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
HEADER_NAMES = st.sampled_from(["Name", "Requires-Dist", "requires-dist", "X", "", " ", "From "])


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """Headers of all kinds, then a body."""
    end = draw(LINE_ENDS)
    lines = draw(
        st.lists(st.tuples(HEADER_NAMES, TEXTS, st.lists(TEXTS.map(" {}".format), max_size=2)))
    )
    text = "".join(end.join([f"{name}:{value}", *folded, ""]) for name, value, folded in lines)
    body = draw(st.binary(max_size=40))
    return text.encode() + draw(st.sampled_from([end.encode(), b""])) + body


@given(blocks())
@settings(max_examples=100, deadline=None)
def test_every_other_byte_is_kept(block: bytes) -> None:
    old = metadata.requirements(block)

    changed = metadata.with_requirements(block, [*old, NEW])

    at = changed.index(LINE)
    after = at + len(LINE)
    end = next(e for e in (b"\r\n", b"\r", b"\n") if changed.startswith(e, after))
    without = changed[:at] + changed[after + len(end) :]
    assert without in (block, block + end)
    assert metadata.requirements(changed) == (*old, NEW)


@given(blocks())
@settings(max_examples=100, deadline=None)
def test_a_second_run_changes_nothing(block: bytes) -> None:
    once = metadata.with_requirements(block, [*metadata.requirements(block), NEW])

    assert metadata.with_requirements(once, metadata.requirements(once)) == once
    assert metadata.with_requirements(block, metadata.requirements(block)) == block


@given(blocks())
@settings(max_examples=100, deadline=None)
def test_any_block_is_read_as_the_email_module_reads_it(block: bytes) -> None:
    found = [" ".join(v.split()) for v in metadata.requirements(block)]

    text = block.decode("utf-8", "replace")
    message = email.message_from_string(text, policy=email.policy.compat32)
    assert found == [" ".join(str(v).split()) for v in message.get_all("requires-dist", [])]


def test_the_first_value_of_a_header_is_read() -> None:
    block = b"Metadata-Version: 2.1\nname:  demo \nName: other\n\nVersion: body\n"

    assert metadata.header(block, "Name") == "demo"
    assert metadata.header(block, "Version") == ""


WHEEL = (
    b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\nBuild: 1\n"
    b"Tag: cp311-abi3-linux_x86_64\n\n"
)


def test_tags_and_platforms_are_read() -> None:
    assert metadata.tags(WHEEL) == ("cp311-cp311-linux_x86_64", "cp311-abi3-linux_x86_64")
    assert metadata.platforms(WHEEL) == ("linux_x86_64",)


def test_new_tags_stand_in_the_place_of_the_first_old_one() -> None:
    changed = metadata.with_tags(WHEEL, ["a-b-c", "a-b-d"])

    assert changed == (
        b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: a-b-c\nTag: a-b-d\nBuild: 1\n\n"
    )


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        (b"Wheel-Version: 1.0\r\nTag: x-y-z", b"Wheel-Version: 1.0\r\nTag: a-b-c\r\n"),
        (b"Wheel-Version: 1.0", b"Wheel-Version: 1.0\nTag: a-b-c\n"),
        (b"Tag: x-y-z\nWheel-Version: 1.0", b"Tag: a-b-c\nWheel-Version: 1.0"),
        (b"", b"Tag: a-b-c\n"),
    ],
)
def test_tags_are_written_whatever_the_line_ends(wheel: bytes, expected: bytes) -> None:
    assert metadata.with_tags(wheel, ["a-b-c"]) == expected


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        (b"Root-Is-Purelib: true\n", True),
        (b"root-is-purelib: TRUE\nRoot-Is-Purelib: false\n", True),
        (b"Root-Is-Purelib: false\n", False),
        (b"Wheel-Version: 1.0\n", False),
    ],
)
def test_root_is_purelib_is_read(wheel: bytes, *, expected: bool) -> None:
    assert metadata.is_purelib(wheel) is expected


def test_record_is_read_with_commas_quotes_and_crlf() -> None:
    record = b'"a,b.txt",sha256=x,1\r\n"c ""d"".txt",,\r\n\r\n"e\r\nf",sha256=y,\r\n'

    assert metadata.record_rows(record) == (
        RecordRow("a,b.txt", "sha256=x", "1"),
        RecordRow('c "d".txt', "", ""),
        RecordRow("e\r\nf", "sha256=y", ""),
    )


def test_record_is_written_with_commas_and_quotes() -> None:
    rows = [RecordRow("a,b.txt", "sha256=x", "1"), RecordRow('c "d".txt', "", "")]

    assert metadata.record(rows) == b'"a,b.txt",sha256=x,1\n"c ""d"".txt",,\n'


# The archive refuses names with control characters, which csv does not always quote.
PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9)


@given(st.lists(st.tuples(PATHS, PATHS, PATHS), max_size=4))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(rows: Sequence[tuple[str, str, str]]) -> None:
    written = metadata.record(RecordRow(*row) for row in rows)

    assert metadata.record_rows(written) == tuple(rows)
    assert [tuple(r) for r in csv.reader(io.StringIO(written.decode(), newline=""))] == rows


@pytest.mark.parametrize(
    ("record", "phrase"),
    [
        (b"a,b\n", "RECORD has a line that does not have three fields"),
        (b"a,b,c,d\n", "RECORD has a line that does not have three fields"),
        (b"\xff,,\n", "RECORD cannot be read: 'utf-8' codec can't decode"),
        (b"a" * 200_000 + b",,\n", "RECORD cannot be read: field larger than field limit"),
    ],
)
def test_a_damaged_record_is_refused(record: bytes, phrase: str) -> None:
    with pytest.raises(BadWheelError) as caught:
        metadata.record_rows(record)

    assert str(caught.value).startswith(phrase)


def test_a_row_has_the_digest_that_the_standard_wants() -> None:
    row = metadata.record_row("a,b.txt", b"data")

    assert row == ("a,b.txt", "sha256=Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc", "4")
    assert metadata.record([row._replace(path="x")]).decode() == record_line("x", b"data")


GOOD_DIGEST = "sha256=Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc"


@pytest.mark.parametrize(
    ("digest", "size", "expected"),
    [
        (GOOD_DIGEST, "4", True),
        (GOOD_DIGEST, "", False),
        (f"{GOOD_DIGEST}=", "4", False),
        ("sha512=abc", "4", False),
        ("", "4", False),
    ],
)
def test_a_row_that_installers_cannot_check_is_not_complete(
    digest: str, size: str, *, expected: bool
) -> None:
    assert metadata.is_complete(RecordRow("a", digest, size)) is expected


def test_a_new_record_lists_each_member_once_and_itself_last() -> None:
    info = "demo-1.0.dist-info"
    rows = [
        RecordRow(f"{info}/RECORD", "", ""),
        RecordRow("gone.py", "sha256=g", "1"),
        RecordRow("kept.py", "sha256=k", "1"),
        RecordRow("vendored/x.dist-info/RECORD", "sha256=v", "1"),
        RecordRow("changed.py", "sha256=c", "1"),
        RecordRow("kept.py", "sha256=k", "1"),
        RecordRow(f"{info}/RECORD.jws", "", ""),
        RecordRow(f"{info}/RECORD.p7s", "", ""),
        RecordRow("last.py", "sha256=l", "1"),
    ]
    changed = {
        "new.py": RecordRow("new.py", "sha256=n", "2"),
        "changed.py": RecordRow("changed.py", "sha256=C", "2"),
    }
    members = [
        f"{info}/RECORD",
        "new.py",
        "changed.py",
        "kept.py",
        "last.py",
        "vendored/x.dist-info/RECORD",
    ]

    assert metadata.updated_record(rows, changed, members) == (
        RecordRow("kept.py", "sha256=k", "1"),
        RecordRow("vendored/x.dist-info/RECORD", "sha256=v", "1"),
        RecordRow("changed.py", "sha256=C", "2"),
        RecordRow("last.py", "sha256=l", "1"),
        RecordRow("new.py", "sha256=n", "2"),
        RecordRow(f"{info}/RECORD", "", ""),
    )


def test_record_is_listed_although_the_old_one_forgot_it() -> None:
    rows = metadata.updated_record(
        [RecordRow("a.py", "sha256=a", "1")], {}, ["a.py", "demo-1.0.dist-info/RECORD"]
    )

    assert rows[-1] == RecordRow("demo-1.0.dist-info/RECORD", "", "")


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("demo-1.0.dist-info/RECORD.jws", True),
        ("demo-1.0.dist-info/RECORD.p7s", True),
        ("demo-1.0.dist-info/RECORD", False),
        ("demo-1.0.dist-info/sub/RECORD.jws", False),
        ("vendored/demo-1.0.dist-info/RECORD.jws", False),
        ("RECORD.jws", False),
    ],
)
def test_signatures_of_record_are_known(member: str, *, expected: bool) -> None:
    assert metadata.is_signature(member) is expected

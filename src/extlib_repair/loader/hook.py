"""Whether a package imports ``_distributor_init.py``. Pure.

NumPy and SciPy leave this file to those who distribute them. NumPy imports it in the ``else`` of an
``if`` of its ``__init__.py``, SciPy at the left margin.
"""

from __future__ import annotations

import tokenize
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.errors import CannotEditError
from extlib_repair.loader.source import read, statements, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from tokenize import TokenInfo

_MODULE = layout.HOOK.removesuffix(".py")
_TRANSPARENT = frozenset({"if", "elif", "else"})
"""What may surround the import: an ImportError passes through, and it runs with the package."""


def is_imported(source: bytes, package: str) -> bool:
    """Whether a package's ``__init__.py`` imports the hook, so that an ImportError shows.

    False as well where that cannot be made out: then the loader stands in ``__init__.py`` itself.
    """
    try:
        lines = list(_lines(tokens(read(source).text)))
    except CannotEditError:
        return False
    return any(_imports(statement, package) for line in lines for statement in statements(line))


def _lines(of_file: Iterator[TokenInfo]) -> Iterator[list[TokenInfo]]:
    """Yield the logical lines that stand in no function, class, ``try`` and the like."""
    line: list[TokenInfo] = []
    opener = ""
    suites: list[bool] = []
    for token in of_file:
        if token.type == tokenize.INDENT:
            suites.append(opener in _TRANSPARENT)
        elif token.type == tokenize.DEDENT:
            suites.pop()
        elif token.type == tokenize.NEWLINE:
            if all(suites):
                yield line
            opener = line[0].string if line else ""
            line = []
        elif token.type not in {tokenize.COMMENT, tokenize.NL}:
            line.append(token)


def _imports(statement: Sequence[TokenInfo], package: str) -> bool:
    keyword, *words = [token.string for token in statement if token.string not in {"(", ")"}]
    hook = f"{package}.{_MODULE}"
    if keyword == "from" and "import" in words:
        middle = words.index("import")
        module = "".join(words[:middle])
        return module in {f".{_MODULE}", hook} or (
            module in {".", package} and _MODULE in map(_name, _listed(words[middle + 1 :]))
        )
    return keyword == "import" and hook in map(_name, _listed(words))


def _listed(words: Sequence[str]) -> list[list[str]]:
    """Return what stands between commas."""
    items: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            items.append([])
        else:
            items[-1].append(word)
    return items


def _name(item: Sequence[str]) -> str:
    """Return the name that is imported: ``a.b as c`` imports ``a.b``."""
    return "".join(item[: item.index("as")] if "as" in item else item)

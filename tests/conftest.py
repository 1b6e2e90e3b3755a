"""Switches and fixtures that many tests share."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
INSTALLED = Path(__file__).parent / "installed"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("extlib-repair")
    group.addoption("--update-golden", action="store_true", help="write the golden files anew")
    group.addoption(
        "--no-skips",
        action="store_true",
        help="a test that is skipped, for want of a tool or for anything else, fails",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests come first; everything in tests/installed is slow."""
    for item in items:
        if INSTALLED in item.path.parents:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if item.config.getoption("--no-skips") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and --no-skips was given: {report.longrepr}"
    return report  # type: ignore[return-value]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name in tests/golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

        assert path.read_text(encoding="utf-8") == text

    return compare


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests: it would go through them again and again.

    The fast tests take a third less time.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let go of what was frozen: LIEF complains of what is still there in the end."""
    gc.unfreeze()

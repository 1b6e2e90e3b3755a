"""The examples in the docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["layout", "metadata", "planning"])
def test_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"extlib_repair.{module}"))

    assert result.attempted > 0
    assert result.failed == 0

"""Repair wheels that use native libraries of other wheels: depend on them, do not copy them."""

__version__ = "0.1.0"

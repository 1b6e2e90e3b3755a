"""Zip archives: a strict reader, and a writer that copies compressed bytes as they are."""

from extlib_repair.archive.format import DEFLATED, STORED, Entry
from extlib_repair.archive.reader import MOST_EXPANSION, SMALL, ArchiveReader
from extlib_repair.archive.writer import ArchiveWriter

__all__ = [
    "DEFLATED",
    "MOST_EXPANSION",
    "SMALL",
    "STORED",
    "ArchiveReader",
    "ArchiveWriter",
    "Entry",
]

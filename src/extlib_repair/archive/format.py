"""The records of a zip archive.

Source: PKWARE APPNOTE.TXT 6.3.10; the section numbers stand beside each record.
"""

import dataclasses
import struct

STORED, DEFLATED = 0, 8

LOCAL = struct.Struct("<4sHHHHHIIIHH")  # 4.3.7
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")  # 4.3.12
END = struct.Struct("<4sHHHHIIH")  # 4.3.16
END64 = struct.Struct("<4sQHHIIQQQQ")  # 4.3.14
LOCATOR64 = struct.Struct("<4sIQI")  # 4.3.15
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END64_MAGIC, LOCATOR64_MAGIC, DESCRIPTOR_MAGIC = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
ZIP64_EXTRA = 1  # 4.5.3

UTF8 = 0x800  # 4.4.4, bit 11
MOST_16, MOST_32 = 0xFFFF, 0xFFFFFFFF
UNIX = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of an archive, as its central directory describes it."""

    name: str
    method: int = DEFLATED
    time: int = 0
    """Date and time in the MS-DOS form, the date in the upper half."""

    crc: int = 0
    packed_size: int = 0
    size: int = 0
    attributes: int = 0
    """External attributes; the upper half is the Unix mode."""

    made_by: int = UNIX
    """The system of the attributes."""

    offset: int = 0
    """Of the local header."""

    data_offset: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether the entry stands for a folder."""
        return self.name.endswith("/")

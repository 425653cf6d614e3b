"""Members of an untrusted zip archive that holds its members and nothing else."""

from __future__ import annotations

import struct
import zlib

STORED, DEFLATED = 0, 8
ENCODING_FLAGS = 0x0800 | 0x0006
"""Flags that change nothing here: names in UTF-8, and how much the writer tried to compress."""
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ELSEWHERE = 0xFFFFFFFF
"""Size whose true value is in an extra field."""


def members_of(content: bytes, *, most: int, most_bytes: int) -> dict[str, bytes]:
    """Content of every member by its name, in the order of the archive.

    A zip archive may carry other data in front of, between and behind its members, in comments and extra fields, and
    behind the end of a compressed stream, so that one file is two things, or says one thing to one reader and another
    to the next. Such an archive is refused, and nothing is unpacked before the stated sizes are checked.

    Args:
        content: The archive.
        most: Largest number of members.
        most_bytes: Largest size of all members together, unpacked.

    Raises:
        ValueError: If it is no such archive, is damaged, holds too much, or is encrypted or compressed in an unusual
            way.
    """
    end = len(content) - _END.size
    if end < 0 or content[end : end + 4] != b"PK\x05\x06":
        raise ValueError("it is not a zip archive, or holds more than its members")
    _, disk, first, here, count, size, start, comment = _END.unpack_from(content, end)
    if (disk, first, comment, here, start + size) != (0, 0, 0, count, end):
        raise ValueError("it holds more than its members")
    if count > most:
        raise ValueError(f"it holds {count:,} arrays; at most {most} are allowed")
    found: dict[str, bytes] = {}
    entry, place = start, 0
    for _ in range(count):
        entry, place, name, member = _member(content, entry, place, end, most_bytes)
        most_bytes -= len(member)
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = member
    if (entry, place) != (end, start):
        raise ValueError("it holds more than its members")
    return found


def _member(content: bytes, entry: int, place: int, end: int, limit: int) -> tuple[int, int, str, bytes]:
    """Ends of the entry at `entry` and of its member, which must be at `place`; its name and content."""
    if entry + _ENTRY.size > end:
        raise ValueError("its list of members is cut off")
    mark, _, _, flags, method, _, _, crc, packed, size, length, extra, comment, disk, _, _, offset = _ENTRY.unpack_from(
        content, entry
    )
    raw = content[entry + _ENTRY.size : entry + _ENTRY.size + length]
    if mark != b"PK\x01\x02" or (extra, comment, disk, offset) != (0, 0, 0, place):
        raise ValueError("it holds more than its members")
    if not raw.isascii() or not (name := raw.decode()).isprintable():
        raise ValueError(f"the name {ascii(raw)[1:]} is not plain text")
    if flags & ~ENCODING_FLAGS or method not in (STORED, DEFLATED):
        raise ValueError(f"{name} is encrypted or compressed in an unusual way")
    if size > limit:
        raise ValueError(f"{name} would take {size:,} bytes; at most {limit:,} are allowed")
    local = _LOCAL.unpack_from(content, place)
    data = place + _LOCAL.size + length + local[10]
    own = content[place + _LOCAL.size : data]
    # `numpy.savez` repeats both sizes in an extra field, for files of more than 4 GB.
    repeated = raw + struct.pack("<2H2Q", 1, 16, size, packed)
    sizes = [(packed, size), *([(_ELSEWHERE, _ELSEWHERE)] if own == repeated else [])]
    if local[:4:3] != (b"PK\x03\x04", method) or own not in (raw, repeated):
        raise ValueError("it holds more than its members")
    if local[2] != flags or local[6] != crc or local[7:9] not in sizes or local[9] != length:
        raise ValueError(f"{name} is described twice, differently")
    unpacked = _inflated(name, content[data : data + packed], size) if method else content[data : data + packed]
    if len(unpacked) != size or zlib.crc32(unpacked) != crc:
        raise ValueError(f"{name} is damaged")
    return entry + _ENTRY.size + length, data + packed, name, unpacked


def _inflated(name: str, packed: bytes, size: int) -> bytes:
    """Content of a compressed stream, which must end where its member ends."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = stream.decompress(packed, size + 1)
    if not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise ValueError(f"{name} holds more than its array")
    return unpacked

"""Image files, whole and damaged."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(kind: str, size=(36, 40)) -> bytes:
    """An image file of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def png_bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 × 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg_bomb() -> bytes:
    """A JPEG whose frame header claims 65,000 × 65,000 pixels."""
    content = bytearray(encoded("JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


def flipped(content: bytes, where: int) -> bytes:
    return content[:where] + bytes([content[where] ^ 0xFF]) + content[where + 1 :]


JPEG, PNG = encoded("JPEG"), encoded("PNG")

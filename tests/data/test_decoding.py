"""Every kind of pixel that PNG and JPEG files hold comes out as the colours it stands for, or is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bench.data.imagenet import decode_rgb
from tests.support.refusals import refused

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # colour types of PNG
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width: int, depth: int, kind: int, row: bytes, *more: bytes) -> bytes:
    """A PNG of one row, given as it is stored, with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def transparent(content: bytes) -> bytes:
    return chunk(b"tRNS", content)


def jpeg(mode: str, colour) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(file, "JPEG", quality=95)
    return file.getvalue()


GREYS = words(0, 256, 0x80FF, 0xFFFF)
COLOURS = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
FIRST, SECOND = (10, 20, 30), (40, 50, 60)
RIGHT = {
    "1 bit": (png(8, 1, GREY, b"\xa0"), [WHITE, BLACK, WHITE]),
    "2 bits": (png(4, 2, GREY, b"\x1b"), [BLACK, (85,) * 3, (170,) * 3, WHITE]),
    "4 bits": (png(2, 4, GREY, b"\x1f"), [(17,) * 3, WHITE]),
    "8 bits": (png(2, 8, GREY, b"\x10\x20"), [(16,) * 3, (32,) * 3]),
    "16 bits": (png(4, 16, GREY, GREYS), [BLACK, (1,) * 3, (128,) * 3, WHITE]),
    "16 bits, another grey transparent": (
        png(4, 16, GREY, GREYS, transparent(words(257))),
        [BLACK, (1,) * 3, (128,) * 3, WHITE],
    ),
    "16 bits in colour": (png(1, 16, COLOUR, words(0x0AFF, 0x1400, 0x1E80)), [FIRST]),
    "16 bits, opaque": (png(1, 16, GREY_ALPHA, words(0x1234, 0xFFFF)), [(18,) * 3]),
    "grey, opaque": (png(1, 8, GREY_ALPHA, b"\x12\xff"), [(18,) * 3]),
    "colour, opaque": (png(1, 8, COLOUR_ALPHA, b"\x0a\x14\x1e\xff"), [FIRST]),
    "palette": (png(2, 8, PALETTE, b"\0\1", COLOURS), [FIRST, SECOND]),
    "palette of 1 bit": (png(8, 1, PALETTE, b"\x40", COLOURS), [FIRST, SECOND]),
    "palette, an unused colour transparent": (
        png(2, 8, PALETTE, b"\1\1", COLOURS, transparent(b"\0")),
        [SECOND, SECOND],
    ),
    "colour, another transparent": (
        png(1, 8, COLOUR, bytes(FIRST), transparent(words(*SECOND))),
        [FIRST],
    ),
    "JPEG of inks": (jpeg("CMYK", (0, 255, 255, 0)), [(255, 0, 0)]),
    "JPEG in grey": (jpeg("L", 70), [(70,) * 3]),
}  # fmt: skip
TRANSPARENT = {
    "grey, half": png(1, 8, GREY_ALPHA, b"\x12\x80"),
    "grey of 16 bits, half": png(1, 16, GREY_ALPHA, words(0x1234, 0x8000)),
    "colour, one pixel of two": png(2, 8, COLOUR_ALPHA, b"\x0a\x14\x1e\xff\x0a\x14\x1e\x00"),
    "palette": png(2, 8, PALETTE, b"\0\1", COLOURS, transparent(b"\x80")),
    "one bit": png(8, 1, GREY, b"\xa0", transparent(words(1))),
    "a grey of 2 bits": png(4, 2, GREY, b"\x1b", transparent(words(1))),
    "a grey of 8 bits": png(2, 8, GREY, b"\x10\x20", transparent(words(16))),
    "a grey of 16 bits": png(4, 16, GREY, GREYS, transparent(words(256))),
    "a colour": png(1, 8, COLOUR, bytes(FIRST), transparent(words(*FIRST))),
    "a colour of 16 bits": png(1, 16, COLOUR, words(256, 512, 768), transparent(words(256, 512, 768))),
}


@pytest.mark.parametrize(("content", "expected"), RIGHT.values(), ids=RIGHT)
def test_colours_are_those_of_the_file(content, expected, tmp_path):
    (tmp_path / "picture").write_bytes(content)
    for source in (content, tmp_path / "picture"):
        pixels = np.asarray(decode_rgb(source, "picture"))[0, : len(expected)].astype(int)
        assert np.abs(pixels - np.array(expected)).max() <= (1 if content[:2] == b"\xff\xd8" else 0)


@pytest.mark.parametrize("content", TRANSPARENT.values(), ids=TRANSPARENT)
def test_what_lies_behind_a_transparent_image_is_not_made_up(content):
    with refused(r"^picture\.png: parts of it are transparent.*background"):
        decode_rgb(content, "picture.png")

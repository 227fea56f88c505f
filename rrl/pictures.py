"""Image files as they come: greyscale, palette, CMYK, 16 bits, alpha, turned by EXIF; all become grey or RGB.

Nothing is converted silently: each conversion has a name, and what cannot be read is an error with its reason.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
ORIENTATION = 0x0112  # of EXIF; 1 is upright


class Unreadable(Exception):
    """Why a file cannot be used as an image."""


def read_picture(file: Path | BinaryIO) -> Image.Image:
    """The whole first image of a file, decoded. Raises Unreadable with a reason."""
    try:
        with Image.open(file) as opened:
            opened.load()
            return opened.copy() if getattr(opened, "n_frames", 1) > 1 else opened
    except UnidentifiedImageError:
        empty = isinstance(file, Path) and file.stat().st_size == 0
        raise Unreadable("zero bytes" if empty else "not an image") from None
    except FileNotFoundError:
        raise Unreadable("missing") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable("truncated" if "truncated" in reason.lower() else f"damaged ({reason})") from None


def conversions(picture: Image.Image) -> Iterator[str]:
    """The names of what `upright` has to change in a picture."""
    if picture.getexif().get(ORIENTATION, 1) != 1:
        yield "turned as EXIF says"
    if "A" in picture.getbands() or "transparency" in picture.info:
        yield "alpha laid on white"
    if picture.mode in SIXTEEN_BITS:
        yield "16 bits to 8"
    elif picture.mode in ("P", "PA"):
        yield "palette to RGB"
    elif picture.mode in ("L", "LA", "1"):
        yield "grey"
    elif picture.mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        yield f"{picture.mode} to RGB"


def upright(picture: Image.Image, channels: int) -> Image.Image:
    """An 8-bit picture in grey (`channels` 1) or RGB (3), the way up that EXIF says, alpha laid on white.

    Raises Unreadable for pixels that are neither 8 nor 16 bits.
    """
    if picture.getexif().get(ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in SIXTEEN_BITS:
        picture = _eight_bits(picture)
    elif picture.mode == "F":
        raise Unreadable("pixels are floating-point numbers; allowed are 8 and 16 bits")
    if "A" in picture.getbands() or "transparency" in picture.info:
        coloured = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), coloured)
    return picture.convert("L" if channels == 1 else "RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips at 255 instead of scaling."""
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(f"grey values from {values.min()} to {values.max()}; allowed are 8 and 16 bits")
    return Image.fromarray((values // 256).astype(np.uint8))

"""Image files as they come: greyscale, palette, CMYK, 16 bits, alpha, turned by EXIF; all become grey or RGB.

Nothing is converted silently: each conversion has a name, and what cannot be read is an error with its reason.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
ORIENTATION = 0x0112  # of EXIF; 1 is upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FIRST, TURNED, SCALED = "first of several images", "turned as EXIF says", "16 bits to 8"
DECODED = "rrl"  # in a picture's info: which of these names Pillow's decoder has done by itself


class Unreadable(Exception):
    """Why a file cannot be used as an image."""


def read_picture(file: Path | BinaryIO) -> Image.Image:
    """The whole first image of a file, decoded. Raises Unreadable with a reason."""
    try:
        if isinstance(file, Path):  # opened here: files that Pillow opens it maps, and maps those wrongly that it turns
            with open(file, "rb") as stream:
                return _decoded(stream)
        return _decoded(file)
    except UnidentifiedImageError:
        empty = isinstance(file, Path) and file.stat().st_size == 0
        raise Unreadable("zero bytes" if empty else "not an image") from None
    except FileNotFoundError:
        raise Unreadable("missing") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead to
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable("truncated" if "truncated" in reason.lower() else f"damaged ({reason})") from None


def _decoded(stream: BinaryIO) -> Image.Image:
    with Image.open(stream) as opened:
        done = [SCALED] if any(_sixteen_bits(tile.args) for tile in opened.tile) else []
        done += [TURNED] if _orientation(opened) != 1 else []
        opened.load()
        several = getattr(opened, "n_frames", 1) > 1
        picture: Image.Image = opened.copy() if several else opened
    picture.info[DECODED] = [FIRST, *done] if several else done
    return picture


def _sixteen_bits(decoder: str | tuple[Any, ...] | None) -> bool:
    """Whether a decoder, by its arguments, reads 16 bits: for colours Pillow keeps 8 of them."""
    kind, *rest = (decoder,) if isinstance(decoder, str) else decoder or ("",)
    largest = rest[0] if len(rest) == 1 and isinstance(rest[0], int) else 255  # of a .ppm
    return largest > 255 or str(kind).endswith((";16B", ";16L", ";16N"))


def _orientation(picture: Image.Image) -> int:
    """1 where nothing is said, or nothing that can be read: such a picture is shown as it is."""
    try:
        orientation: int = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises whatever its bytes lead to
        return 1
    return orientation if orientation in TURNS else 1


def conversions(picture: Image.Image) -> Iterator[str]:
    """The names of what is changed in a picture, by `upright` and by decoding it."""
    done = picture.info.get(DECODED, [])
    if FIRST in done:
        yield FIRST
    if TURNED in done or _orientation(picture) != 1:
        yield TURNED
    if picture.has_transparency_data:
        yield "alpha laid on white"
    if SCALED in done or picture.mode in SIXTEEN_BITS:
        yield SCALED
    if picture.mode in ("P", "PA"):
        yield "palette to RGB"
    elif picture.mode in ("L", "LA", "1"):
        yield "grey"
    elif picture.mode not in ("RGB", "RGBA", "RGBa", "RGBX", *SIXTEEN_BITS):
        yield f"{picture.mode} to RGB"


def upright(picture: Image.Image, channels: int) -> Image.Image:
    """An 8-bit picture in grey (`channels` 1) or RGB (3), the way up that EXIF says, alpha laid on white.

    Raises Unreadable for pixels that are neither 8 nor 16 bits.
    """
    if (orientation := _orientation(picture)) != 1:
        picture = picture.transpose(TURNS[orientation])
    if picture.mode in SIXTEEN_BITS:
        picture = _eight_bits(picture)
    elif picture.mode == "F":
        raise Unreadable("pixels are floating-point numbers; they must have 8 or 16 bits")
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), coloured)
    elif picture.mode == "LAB":
        picture = picture.convert("RGB")  # of these Pillow knows no way to grey
    picture = picture.convert("L" if channels == 1 else "RGB")
    picture.info.clear()  # the EXIF there is followed
    return picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips at 255 instead of scaling."""
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(f"grey values from {values.min()} to {values.max()}; they must have 8 or 16 bits")
    scaled = Image.fromarray((values // 256).astype(np.uint8))
    if (transparent := picture.info.get("transparency")) is not None:
        scaled.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return scaled

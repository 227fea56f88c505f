"""Image files of every kind, written for real: what they become, what is said about it, and why some are refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rrl.data.pictures import EXTENSIONS, Unreadable, conversions, read_picture, upright

RAMP = (np.arange(12).reshape(3, 4) * 5000).astype(np.uint16)  # 0 to 55,000
GREY = (np.arange(12).reshape(3, 4) * 20).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
ALPHA, TURNED, DEEP, FIRST = "alpha laid on white", "turned as EXIF says", "16 bits to 8", "first of several images"


def pixels(path: Path, channels: int) -> np.ndarray[Any, Any]:
    picture = upright(read_picture(path), channels)
    assert picture.mode == {1: "L", 3: "RGB"}[channels]
    return np.asarray(picture)


def named(path: Path) -> list[str]:
    return list(conversions(read_picture(path)))


def reason(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read_picture(path)
    return str(caught.value)


def grey_of(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """ITU-R 601-2, as the documentation of Pillow gives it."""
    return rgb.astype(float) @ np.array([299, 587, 114]) / 1000


def on_white(rgb: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


def saved(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_16_bits(path: Path, values: np.ndarray[Any, Any], transparent: tuple[int, ...] = ()) -> Path:
    """(height, width, channels) uint16: Pillow writes 16 bits in grey only."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    middle = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    image = chunk(b"IHDR", header) + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + image)
    return path


def test_an_rgb_picture_is_left_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", RGB)
    assert named(path) == []
    assert np.array_equal(pixels(path, 3), RGB)
    np.testing.assert_allclose(pixels(path, 1), grey_of(RGB), atol=1)


@pytest.mark.parametrize("suffix", [suffix for suffix in EXTENSIONS if suffix != ".ppm"])
def test_grey_of_every_allowed_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    flat = np.full((8, 8), 100, np.uint8)
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", flat, **options)
    assert np.array_equal(pixels(path, 1), flat)
    assert np.array_equal(pixels(path, 3), np.stack([flat] * 3, axis=2))
    assert named(path) == {".webp": [], ".gif": ["palette to RGB"]}.get(suffix, ["grey"])  # these two know no grey


def test_grey_stays_grey_to_the_bit(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY)
    assert named(path) == ["grey"]
    assert np.array_equal(pixels(path, 1), GREY) and np.array_equal(pixels(path, 3)[..., 1], GREY)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = (GREY // 20) % 3 == 0
    path = saved(tmp_path / "a.png", bits)
    assert read_picture(path).mode == "1" and named(path) == ["grey"]
    assert np.array_equal(pixels(path, 1), bits * np.uint8(255))
    assert np.array_equal(pixels(path, 3)[..., 2], bits * np.uint8(255))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big-endian.tif", "a.pgm"])
def test_16_bits_of_grey_are_scaled_and_not_clipped(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.pgm":
        path.write_bytes(b"P5 4 3 65535\n" + RAMP.astype(">u2").tobytes())
    elif name == "big-endian.tif":
        Image.frombytes("I;16B", (4, 3), RAMP.astype(">u2").tobytes()).save(path)
    else:
        saved(path, RAMP)
    assert named(path) == [DEEP]
    assert np.array_equal(pixels(path, 1), RAMP // 256) and RAMP.max() // 256 == 214
    assert np.array_equal(pixels(path, 3), np.stack([RAMP // 256] * 3, axis=2))


def test_32_bits_are_read_if_they_hold_16_and_refused_otherwise(tmp_path: Path) -> None:
    assert np.array_equal(pixels(saved(tmp_path / "a.tif", RAMP.astype(np.int32)), 1), RAMP // 256)
    for name, values, found in (
        ("b.tif", RAMP.astype(np.int32) - 7, "-7 to 54993"),
        ("c.tif", RAMP.astype(np.int32) * 2, "0 to 110000"),
    ):
        picture = read_picture(saved(tmp_path / name, values))
        with pytest.raises(Unreadable, match=f"grey values from {found}; they must have 8 or 16 bits"):
            upright(picture, 3)


def test_16_bits_of_colour_are_named_too(tmp_path: Path) -> None:
    colours = np.stack([RAMP, RAMP + 7, 65535 - RAMP], axis=2)
    path = png_of_16_bits(tmp_path / "rgb.png", colours)
    assert named(path) == [DEEP]
    assert np.array_equal(pixels(path, 3), colours // 256)
    with_alpha = np.concatenate([colours, RAMP[..., None]], axis=2)
    path = png_of_16_bits(tmp_path / "rgba.png", with_alpha)
    assert named(path) == [ALPHA, DEEP]
    np.testing.assert_allclose(pixels(path, 3), on_white(colours // 256, RAMP // 256), atol=1)
    path = png_of_16_bits(tmp_path / "la.png", np.stack([RAMP, RAMP[::-1]], axis=2))
    assert named(path) == [ALPHA, DEEP]
    np.testing.assert_allclose(pixels(path, 1), on_white(RAMP[..., None] // 256, RAMP[::-1] // 256)[..., 0], atol=1)
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 4 3 65535\n" + colours.astype(">u2").tobytes())
    assert named(path) == [DEEP]
    np.testing.assert_allclose(pixels(path, 3), colours / 257, atol=1)


def test_five_and_six_bits_of_a_bitmap_are_not_taken_for_16(tmp_path: Path) -> None:
    """A .bmp of 16 bits per pixel has 5 or 6 per colour."""
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + header + masks + struct.pack("<HH", 0xF800, 0x07E0))
    assert named(path) == []
    assert pixels(path, 3).tolist() == [[[255, 0, 0], [0, 255, 0]]]


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).quantize(12)
    picture.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").mode == "P" and named(tmp_path / "a.png") == ["palette to RGB"]
    assert np.array_equal(pixels(tmp_path / "a.png", 3), np.asarray(picture.convert("RGB")))
    np.testing.assert_allclose(pixels(tmp_path / "a.png", 1), grey_of(np.asarray(picture.convert("RGB"))), atol=1)


def test_a_transparent_colour_of_a_palette_becomes_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 0, 90])
    picture.putpixel((1, 0), 1)
    for name, transparent in (("a.png", 0), ("a.gif", 0), ("half.png", bytes([128, 255]))):
        picture.save(tmp_path / name, transparency=transparent)
        assert named(tmp_path / name) == [ALPHA, "palette to RGB"]
    assert pixels(tmp_path / "a.png", 3).tolist() == [[[255, 255, 255], [0, 0, 90]]]
    assert pixels(tmp_path / "a.gif", 3).tolist() == [[[255, 255, 255], [0, 0, 90]]]
    assert pixels(tmp_path / "a.png", 1).tolist() == [[255, 10]]
    np.testing.assert_allclose(pixels(tmp_path / "half.png", 3), [[[227, 127, 127], [0, 0, 90]]], atol=1)


def test_a_transparent_grey_becomes_white_with_8_and_16_bits(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", transparency=40)
    assert named(tmp_path / "a.png") == [ALPHA, "grey"]
    assert np.array_equal(pixels(tmp_path / "a.png", 1), np.where(GREY == 40, 255, GREY))
    path = png_of_16_bits(tmp_path / "b.png", RAMP[..., None], transparent=(10000,))
    assert named(path) == [ALPHA, DEEP]
    assert np.array_equal(pixels(path, 1), np.where(RAMP == 10000, 255, RAMP // 256))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    alpha = GREY[::-1, ::-1]
    path = saved(tmp_path / "rgba.png", np.concatenate([RGB, alpha[..., None]], axis=2))
    assert named(path) == [ALPHA]
    np.testing.assert_allclose(pixels(path, 3), on_white(RGB, alpha), atol=1)
    np.testing.assert_allclose(pixels(path, 1), grey_of(on_white(RGB, alpha)), atol=1.5)
    path = saved(tmp_path / "la.png", np.stack([GREY, alpha], axis=2))
    assert read_picture(path).mode == "LA" and named(path) == [ALPHA, "grey"]
    np.testing.assert_allclose(pixels(path, 1), on_white(GREY[..., None], alpha)[..., 0], atol=1)
    np.testing.assert_allclose(pixels(path, 3), np.stack([pixels(path, 1)] * 3, axis=2))


def test_fully_transparent_pixels_are_white_whatever_colour_they_hide(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.concatenate([RGB, np.zeros((3, 4, 1), np.uint8)], axis=2))
    assert (pixels(path, 3) == 255).all() and (pixels(path, 1) == 255).all()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    ink.save(tmp_path / "a.jpg", quality=100)
    assert named(tmp_path / "a.jpg") == ["CMYK to RGB"]
    assert (abs(pixels(tmp_path / "a.jpg", 3).astype(int) - [255, 0, 0]) <= 3).all()
    np.testing.assert_allclose(pixels(tmp_path / "a.jpg", 1), 76, atol=3)
    ink.save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif", 3)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb_or_grey(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3), (128, 128, 128) if mode == "YCbCr" else (137, 128, 128)).save(tmp_path / "a.tif")
    assert named(tmp_path / "a.tif") == [f"{mode} to RGB"]
    np.testing.assert_allclose(pixels(tmp_path / "a.tif", 3), 128, atol=3)
    np.testing.assert_allclose(pixels(tmp_path / "a.tif", 1), 128, atol=3)


# Where EXIF's orientation puts the first row and the first column of the stored picture.
STORED = np.kron(np.array([[0, 255, 0], [0, 0, 90]], np.uint8), np.ones((16, 16), np.uint8))
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: STORED[::-1].T,  # row 0 is the right side, column 0 the top
    7: STORED[::-1, ::-1].T,
    8: STORED.T[::-1],  # row 0 is the left side, column 0 the bottom
}


def with_orientation(path: Path, orientation: int, **options: Any) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(path, STORED, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_pictures_are_turned_as_exif_says(tmp_path: Path, name: str, orientation: int) -> None:
    options = {"quality": 100} if name == "a.jpg" else {"lossless": True} if name == "a.webp" else {}
    path = with_orientation(tmp_path / name, orientation, **options)
    assert (TURNED in named(path)) == (orientation != 1)
    for channels in (1, 3):
        found = pixels(path, channels).reshape(*UPRIGHT[orientation].shape, channels)[..., 0]
        np.testing.assert_allclose(found.astype(int), UPRIGHT[orientation], atol=2)


def test_a_picture_that_is_upright_is_not_turned_again(tmp_path: Path) -> None:
    once = upright(read_picture(with_orientation(tmp_path / "a.png", 6)), 1)
    assert np.array_equal(np.asarray(upright(once, 1)), UPRIGHT[6]) and list(conversions(once)) == ["grey"]


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    path = with_orientation(tmp_path / "a.png", orientation)
    assert named(path) == ["grey"] and np.array_equal(pixels(path, 1), STORED)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_damaged_exif_turns_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (8, 8), "white").save(path, exif=b"Exif\0\0this is no EXIF")
    assert named(path) == [] and (pixels(path, 3) == 255).all()


def test_exif_with_an_entry_of_a_wrong_type_still_turns(tmp_path: Path) -> None:
    """The camera's name, 0x010F, is a number here."""
    entries = [struct.pack(">HHIHH", 0x010F, 3, 1, 7, 0), struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)]
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + b"".join(entries) + b"\0\0\0\0"
    Image.fromarray(STORED).save(tmp_path / "a.png", exif=exif)
    assert TURNED in named(tmp_path / "a.png") and np.array_equal(pixels(tmp_path / "a.png", 1), UPRIGHT[6])


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png", "a.mpo"])
def test_of_several_images_in_a_file_the_first_is_taken(tmp_path: Path, name: str) -> None:
    first, *others = (Image.new("RGB", (16, 8), colour) for colour in ("red", "blue", "lime"))
    options = {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=others, **options)
    assert named(tmp_path / name)[0] == FIRST
    assert pixels(tmp_path / name, 3).shape == (8, 16, 3)
    assert (abs(pixels(tmp_path / name, 3).astype(int) - [255, 0, 0]) <= 2).all()


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path / "a.tif", np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)))
    for channels in (1, 3):
        with pytest.raises(Unreadable, match="pixels are floating-point numbers; they must have 8 or 16 bits"):
            upright(picture, channels)


def test_what_is_no_image_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "zero bytes"
    (tmp_path / "text.jpg").write_text("This is a text, whatever its name says.\n" * 20)
    assert reason(tmp_path / "text.jpg") == "not an image"
    assert reason(tmp_path / "nothing.jpg") == "missing"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "damaged (Is a directory)"
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    assert reason(tmp_path / "link.jpg") == "missing"
    assert reason(tmp_path / "a\0b.jpg").startswith("damaged (embedded null byte")


def test_the_suffix_does_not_matter_to_reading(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", RGB).rename(tmp_path / "a.jpg")
    assert np.array_equal(pixels(tmp_path / "a.jpg", 3), RGB)


def noise_file(path: Path, **options: Any) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    return saved(path, noise, **options).read_bytes()


@pytest.mark.parametrize("name", ["a.jpg", "progressive.jpg", "a.png", "a.bmp", "a.tif", "a.webp", "a.gif", "a.ppm"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    content = noise_file(tmp_path / name, **({"progressive": True} if name == "progressive.jpg" else {}))
    damaged = ("could not create decoder object",) if name == "a.webp" else ()
    last = {"a.png": 30, "a.gif": 5}.get(name, 1)  # behind the pixels there are a few bytes that hold none
    for length in [int(len(content) * share) for share in (0.2, 0.5, 0.7, 0.9)] + [len(content) - last]:
        (tmp_path / name).write_bytes(content[:length])
        assert reason(tmp_path / name) in ("truncated", "not an image", *(f"damaged ({why})" for why in damaged)), (
            length
        )
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    if name in ("a.jpg", "a.png"):
        assert reason(tmp_path / name) == "truncated"
    (tmp_path / name).write_bytes(content[:3])
    assert reason(tmp_path / name) in ("not an image", "damaged (Reached EOF while reading header)")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.webp", "a.bmp", "a.ppm"])
def test_damaged_bytes_lead_to_a_reason_and_to_no_other_error(tmp_path: Path, name: str) -> None:
    content = noise_file(tmp_path / name, **({"exif": b"Exif\0\0MM\0*" + bytes(range(60))} if name == "a.png" else {}))
    random = np.random.default_rng(1)
    for turn in range(150):
        spoilt = bytearray(content)
        for at in random.integers(0, 150 if turn % 2 else len(content), 1 + turn % 4):
            spoilt[at] = random.integers(256)
        try:
            picture = read_picture(io.BytesIO(bytes(spoilt)))
            list(conversions(picture))
            upright(picture, 1)
        except Unreadable as error:
            assert str(error)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", np.zeros((50, 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    assert reason(path) == "more than 2,400 pixels"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2500)
    assert read_picture(path).size == (50, 50)


def test_a_picture_can_be_read_from_bytes_and_after_its_file_is_gone(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", RGB)
    assert np.array_equal(np.asarray(upright(read_picture(io.BytesIO(path.read_bytes())), 3)), RGB)
    picture = read_picture(path)
    path.unlink()
    assert np.array_equal(np.asarray(upright(picture, 3)), RGB)

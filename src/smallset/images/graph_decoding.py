"""Decode JPEG and PNG in a TensorFlow graph, to the pixels that `decoding.decode` gives.

Exported models use it where no Python runs. What TensorFlow cannot decode in the same way is refused with an error.
"""

from functools import partial

import tensorflow as tf

from smallset.images.decoding import LARGE, MIN_SIDE

EXIF, PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"  # how segments of a JPEG begin
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SRGB = r"\C*s\x00?R\x00?G\x00?B\C*"  # a profile that is called so, in ASCII or UTF-16; \C is any byte
XMP_ORIENTATION = r'\C*?tiff:Orientation(?:="|>)([0-9])\C*'
EXIF_AS_TEXT = r"Raw profile type (exif|APP1)\C*"  # as ImageMagick writes it
GAMMA, SAME_GAMMA = 45455, 909  # of sRGB in a PNG's gAMA; what differs by 2 % is sRGB as well
ORIENTATION = 274  # a tag of Exif


@tf.function
def decode_and_resize(contents: tf.Tensor, size: int) -> tf.Tensor:
    """Encoded photos, (n,), as pixels (n, size, size, 3): decoded, upright, on white, and resized.

    tf.errors.InvalidArgumentError for files that are neither JPEG nor PNG, and for photos in CMYK, with a color profile
    other than sRGB, with another PNG gamma, with 16 bits per color, or with more than 25 megapixels.
    """

    def prepare(content: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(_decode(content), (size, size))

    return tf.map_fn(prepare, contents, fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32))


def _decode(content: tf.Tensor) -> tf.Tensor:
    is_png = tf.strings.substr(content, 0, len(SIGNATURE)) == SIGNATURE
    _refuse(not is_png and tf.strings.substr(content, 0, 2) != b"\xff\xd8", "neither a JPEG nor a PNG")
    if is_png:
        pixels, orientation = _decode_png(content)
    else:
        pixels, orientation = _decode_jpeg(content)
    if tf.reduce_any(orientation == [5, 6, 7, 8]):
        pixels = tf.transpose(pixels, (1, 0, 2))
    if tf.reduce_any(orientation == [2, 3, 6, 7]):
        pixels = tf.reverse(pixels, [1])
    if tf.reduce_any(orientation == [3, 4, 7, 8]):
        pixels = tf.reverse(pixels, [0])
    return pixels


def _refuse(condition: tf.Tensor, reason: str) -> None:
    tf.debugging.Assert(not condition, [f"This photo is {reason}. Decode it with smallset, and send pixels."])


def _decode_jpeg(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels of a JPEG, which libjpeg halves as long as its sides keep MIN_SIDE, and its orientation."""
    data = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int32)
    at, orientation, width, height, components = 2, 0, 1, 1, 0
    profile = xmp = b""
    while _read(data, at, 1) == 0xFF and _read(data, at + 1, 1) != 0xDA:  # the scan follows
        marker, length = _read(data, at + 1, 1), _read(data, at + 2, 2)
        segment = tf.strings.substr(content, at + 4, tf.maximum(length - 2, 0))
        if marker == 0xFF:  # padding
            length = -1
        elif marker == 0xE1 and orientation == 0 and tf.strings.substr(segment, 0, len(EXIF)) == EXIF:
            orientation = _read_orientation(data, at + 10)
        elif marker == 0xE1:
            xmp += segment
        elif marker == 0xE2 and tf.strings.substr(segment, 0, len(PROFILE)) == PROFILE:
            profile += segment
        elif marker >= 0xC0 and marker <= 0xCF and tf.reduce_all(marker != [0xC4, 0xC8, 0xCC]):
            height, width, components = _read(data, at + 5, 2), _read(data, at + 7, 2), _read(data, at + 9, 1)
        at += length + 2
    _refuse(components == 4, "in CMYK")
    _refuse(_is_foreign(profile), "in a color space other than sRGB")
    scale = tf.minimum(width // MIN_SIDE, height // MIN_SIDE)
    halvings = tf.reduce_sum(tf.cast(scale >= [2, 4, 8], tf.int32))
    _refuse(_count_pixels(width, height) > LARGE * tf.pow(4.0, tf.cast(halvings, tf.float32)), "too large")
    decode = partial(tf.image.decode_jpeg, content, 3, dct_method="INTEGER_ACCURATE")
    pixels = tf.switch_case(halvings, [partial(decode, ratio=ratio) for ratio in (1, 2, 4, 8)])
    return pixels, _add_xmp(orientation, xmp)


def _decode_png(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels of a PNG on white, as Pillow's alpha_composite computes them, and its orientation."""
    data = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int32)
    at, orientation, profile, xmp, gamma, is_srgb, as_text = len(SIGNATURE), 0, b"", b"", GAMMA, False, False
    has_alpha = _read(data, 25, 1) >= 4  # the type of the colors
    while at + 12 <= tf.size(data):
        length, name = tf.maximum(_read(data, at, 4), 0), tf.strings.substr(content, at + 4, 4)
        chunk = tf.strings.substr(content, at + 8, length)
        if name == b"eXIf":
            orientation = _read_orientation(data, at + 8)
        elif name == b"iTXt":
            xmp += chunk
        elif name == b"tEXt" or name == b"zTXt":
            as_text = as_text or tf.strings.regex_full_match(chunk, EXIF_AS_TEXT)
        elif name == b"iCCP":
            named = tf.strings.length(tf.strings.regex_replace(chunk, rb"\x00\C*", b""))
            profile = tf.io.decode_compressed(tf.strings.substr(chunk, named + 2, -1), "ZLIB")
        elif name == b"gAMA":
            gamma = _read(data, at + 8, 4)
        elif name == b"tRNS":
            has_alpha = True
        elif name == b"sRGB":
            is_srgb = True
        at += length + 12
    _refuse(as_text, "a PNG with Exif as text")
    _refuse(_read(data, 24, 1) == 16, "a PNG with 16 bits per color")
    _refuse(_is_foreign(profile), "in a color space other than sRGB")
    has_gamma = not is_srgb and profile == b"" and tf.abs(gamma - GAMMA) > SAME_GAMMA
    _refuse(has_gamma, "a PNG with a gamma other than sRGB's")
    _refuse(_count_pixels(_read(data, 16, 4), _read(data, 20, 4)) > LARGE, "too large")
    colors, alpha = tf.split(tf.cast(tf.image.decode_png(content, 4), tf.int32), [3, 1], axis=-1)
    alpha = tf.where(has_alpha, alpha, 255)  # TensorFlow fills up fewer than 8 bits with a smaller number
    sums = (colors * alpha + 255 * (255 - alpha) + 128) * 128
    return tf.cast((sums // 256 + sums) // 256 // 128, tf.uint8), _add_xmp(orientation, xmp)


def _count_pixels(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    return tf.cast(width, tf.float32) * tf.cast(height, tf.float32)  # as an integer, it could exceed 32 bits


def _add_xmp(orientation: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """The orientation in XMP, if Exif has none."""
    digit = tf.strings.regex_replace(xmp, XMP_ORIENTATION, r"\1")
    if orientation == 0 and tf.strings.length(digit) == 1:
        orientation = tf.strings.to_number(digit, tf.int32)
    return orientation


def _is_foreign(profile: tf.Tensor) -> tf.Tensor:
    return profile != b"" and not tf.strings.regex_full_match(profile, SRGB)


def _read(data: tf.Tensor, at: tf.Tensor, count: int, little: bool = False) -> tf.Tensor:
    """An unsigned number of `count` bytes, with zeros behind the end of the data."""
    places = at + tf.range(count)
    values = tf.where(places < tf.size(data), tf.gather(data, tf.clip_by_value(places, 0, tf.size(data) - 1)), 0)
    return tf.reduce_sum(values * 256 ** (tf.range(count) if little else tf.range(count)[::-1]))


def _read_orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Exif's number of the orientation, from a TIFF header; 0 if there is none."""
    orientation = 0
    if _read(data, start, 1) == ord("I"):
        orientation = _find_tag(data, start, little=True)
    else:
        orientation = _find_tag(data, start, little=False)
    return orientation


def _find_tag(data: tf.Tensor, start: tf.Tensor, little: bool) -> tf.Tensor:
    first = start + _read(data, start + 4, 4, little)
    entries = first + 2 + 12 * tf.range(_read(data, first, 2, little))
    tags = tf.map_fn(lambda at: _read(data, at, 2, little), entries)
    places = tf.boolean_mask(entries, tags == ORIENTATION)
    return _read(data, places[0] + 8, 2, little) if tf.size(places) > 0 else 0

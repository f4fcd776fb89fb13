"""Color profiles (ICC) of displays, which Pillow cannot make."""

import struct
from collections.abc import Sequence

# Red, green and blue as XYZ for D50
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
PROPHOTO = ((0.79767, 0.28804, 0), (0.13519, 0.71188, 0), (0.03134, 0.00009, 0.82491))


def make_profile(primaries: Sequence[Sequence[float]], gamma: float) -> bytes:
    """An ICC profile of a display with these primaries (XYZ for D50)."""

    def fix(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fix(0.9642, 1, 0.8249), b"cprt": b"text\0\0\0\0x\0\0\0"}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x".ljust(80, b"\0")
    for letter, primary in zip(b"rgb", primaries, strict=True):
        tags[b"%cXYZ" % letter], tags[b"%cTRC" % letter] = b"XYZ \0\0\0\0" + fix(*primary), curve
    body, entries, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        entries += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI12s", start + len(body), b"test", 0x02400000, b"mntrRGB XYZ ").ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + fix(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body

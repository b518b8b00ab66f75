"""Makes a few hundred pictures of every kind, and what Pillow reads from them: formats.zip.

    python tests/golden/formats.py [FOLDER]

table.csv in the archive tells for each file, and for those in tests/golden/faults/, which PNG holds
the pixels that Pillow sees, upright and as RGB; none where Pillow refuses. FOLDER gets the same as
files, for other readers.

Made with Pillow 13.0.0, numpy, imagecodecs 2026.3.6 (lossless and 12-bit JPEG), and cjpeg and
jpegtran of libjpeg-turbo 2.1.5 (Debian's libjpeg-turbo-progs).
"""

import csv
import hashlib
import io
import itertools
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageOps

WIDTH, HEIGHT = 37, 27  # no multiple of a block, nor even
ZIP = Path(__file__).with_suffix(".zip")
FAULTS = Path(__file__).with_name("faults")
FILES = {}


def flower(width=WIDTH, height=HEIGHT):
    """A flower with hard edges before a gradient with some grain."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    grain = np.random.default_rng(7).normal(0, 2, (height, width, 3))
    ground = np.stack([60 + x / 3, 110 + y / 4, 70 - x / 8], -1) + grain
    picture = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    side = min(width, height)
    for turn in np.arange(8) * np.pi / 4:
        cx, cy = width / 2 + side * 0.28 * np.cos(turn), height / 2 + side * 0.28 * np.sin(turn)
        draw.ellipse((cx - side / 7, cy - side / 7, cx + side / 7, cy + side / 7), (245, 195, 30))
    draw.ellipse((width / 2 - side / 5, height / 2 - side / 5, width / 2 + side / 5, height / 2 + side / 5), (95, 50, 20))
    return picture


PHOTO = flower()
RAMP = Image.fromarray(np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8))
GREY = PHOTO.convert("L")
CMYK = Image.merge("CMYK", (*PHOTO.split(), RAMP.transpose(Image.Transpose.ROTATE_180)))


def add(name, data):
    assert name not in FILES, name
    FILES[name] = bytes(data)


def saved(picture, format, **options):
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def tool(command, data, **files):
    """Runs cjpeg or jpegtran; {name} in the command is the path of a file with that content."""
    with tempfile.TemporaryDirectory() as work:
        paths = {}
        for name, content in files.items():
            paths[name] = f"{work}/{name}"
            Path(paths[name]).write_text(content)
        return subprocess.run(
            [part.format(**paths) for part in command.split()], input=data, capture_output=True, check=True
        ).stdout


def cjpeg(options, picture=PHOTO, **files):
    return tool(f"cjpeg -quality 90 {options}", saved(picture, "PPM"), **files)


def pillow_jpegs():
    for sampling, quality in itertools.product(("4:4:4", "4:2:2", "4:2:0"), (20, 85, 100)):
        for progressive in (False, True):
            name = f"pillow_{sampling.replace(':', '')}_q{quality}{'_progressive' * progressive}.jpg"
            add(name, saved(PHOTO, "JPEG", quality=quality, subsampling=sampling, progressive=progressive))
    for width, height in [(1, 1), (2, 3), (7, 8), (8, 7), (16, 16), (17, 15), (33, 9), (5, 70)]:
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            name = f"size_{width}x{height}_{sampling.replace(':', '')}.jpg"
            add(name, saved(flower(width, height), "JPEG", quality=85, subsampling=sampling))
    for mode, picture in {"grey": GREY, "cmyk": CMYK}.items():
        for progressive in (False, True):
            data = saved(picture, "JPEG", quality=90, progressive=progressive)
            add(f"{mode}{'_progressive' * progressive}.jpg", data)
    ycck = bytearray(FILES["cmyk.jpg"])
    ycck[ycck.index(b"Adobe") + 11] = 2
    add("ycck.jpg", ycck)
    plain = FILES["cmyk.jpg"]
    at = plain.index(b"Adobe") - 4
    add("cmyk_without_adobe.jpg", plain[:at] + plain[at + 16 :])
    for orientation in range(0, 10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"exif_{orientation}.jpg", saved(PHOTO, "JPEG", quality=90, exif=exif))
    add("mpo.jpg", saved(PHOTO, "MPO", quality=85, save_all=True, append_images=[GREY.convert("RGB")]))
    add("rows_restart.jpg", saved(PHOTO, "JPEG", restart_marker_rows=1))
    add("blocks_restart.jpg", saved(PHOTO, "JPEG", restart_marker_blocks=1, subsampling="4:2:0"))
    add("rgb.jpg", saved(PHOTO, "JPEG", keep_rgb=True))
    add("icc.jpg", saved(PHOTO, "JPEG", icc_profile=b"no profile" * 10, comment="a comment"))


def sampled_jpegs():
    luma = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2"]
    factors = [f"{sampling},1x1,1x1" for sampling in luma]
    factors += [
        "1x1,2x1,2x1", "1x1,1x2,1x2", "1x1,2x2,2x2", "2x2,2x1,2x1", "2x2,1x2,1x2", "2x2,2x1,1x2",
        "2x2,1x1,2x1", "2x1,2x1,1x1", "2x1,1x1,2x1", "1x2,1x1,1x2", "2x1,1x2,1x1", "1x1,2x1,1x1",
        "1x1,1x1,2x2", "2x1,1x2,1x2", "2x2,2x2,1x1", "4x1,2x1,1x1", "1x4,1x2,1x1",
    ]  # fmt: skip
    for sampling in factors:
        for how in ("", "-progressive"):
            name = f"sampled_{sampling.replace(',', '_')}{how.replace('-', '_')}.jpg"
            add(name, cjpeg(f"-sample {sampling} {how}"))
    for sampling in ("1x1", "2x2", "3x1"):
        add(f"grey_sampled_{sampling}.jpg", cjpeg(f"-grayscale -sample {sampling}"))
        add(f"rgb_sampled_{sampling}.jpg", cjpeg(f"-rgb -sample {sampling}"))


def scanned_jpegs():
    scripts = {
        "".join("ybr"[component] for component in order): "".join(f"{component};\n" for component in order)
        for order in itertools.permutations(range(3))
    }
    scripts |= {"yb_r": "0 1;\n2;\n", "y_br": "0;\n1 2;\n", "r_yb": "2;\n0 1;\n", "br_y": "1 2;\n0;\n"}
    for (name, script), sampling in itertools.product(scripts.items(), ("2x2", "2x1", "1x2", "1x1")):
        for how in ("", "-optimize -restart 1B") if sampling != "1x2" else ("-arithmetic",):
            kind = how.replace("-", "_").replace(" ", "")
            add(f"scans_{name}_{sampling}{kind}.jpg", cjpeg(f"-sample {sampling} {how} -scans {{script}}", script=script))
    progressions = {
        "spectral": "0 1 2: 0-0, 0, 0;\n0: 1-5, 0, 0;\n0: 6-63, 0, 0;\n1: 1-63, 0, 0;\n2: 1-63, 0, 0;\n",
        "refined": "0 1 2: 0-0, 0, 3;\n0 1 2: 0-0, 3, 2;\n0 1 2: 0-0, 2, 1;\n0 1 2: 0-0, 1, 0;\n"
        + "".join(f"{c}: 1-63, 0, 2;\n{c}: 1-63, 2, 1;\n{c}: 1-63, 1, 0;\n" for c in (2, 0, 1)),
        "luma_only_at_first": "0: 0-0, 0, 0;\n0: 1-63, 0, 0;\n1: 0-0, 0, 0;\n2: 0-0, 0, 0;\n",
        "unfinished": "0 1 2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n",
    }
    for name, script in progressions.items():
        add(f"progression_{name}.jpg", cjpeg("-sample 2x2 -scans {script}", script=script))
    for options in ("-arithmetic", "-arithmetic -progressive", "-arithmetic -restart 1", "-optimize", "-baseline",
                    "-progressive -restart 2B", "-dct float", "-qslots 0,1,1", "-qslots 0,0,1",
                    "-quality 1", "-quality 100 -sample 1x1"):  # fmt: skip
        add(f"cjpeg{options.replace('-', '_').replace(' ', '').replace(',', '')}.jpg", cjpeg(options))
    source = cjpeg("-sample 2x2 -restart 1")
    for options in ("-rotate 90", "-flip horizontal", "-transpose", "-crop 16x8+16+16", "-grayscale",
                    "-progressive", "-arithmetic", "-optimize -restart 0"):  # fmt: skip
        kind = options.replace("-", "_").replace(" ", "").replace("+", "_")
        add(f"jpegtran{kind}.jpg", tool(f"jpegtran {options}", source))


def unusual_jpegs():
    values = np.asarray(PHOTO)
    for predictor in (1, 4, 7):
        add(f"lossless_{predictor}.jpg", imagecodecs.jpeg8_encode(values, lossless=True, predictor=predictor))
    add("lossless_grey.jpg", imagecodecs.jpeg8_encode(np.asarray(GREY), lossless=True))
    add("lossless_16_bit.jpg", imagecodecs.jpeg8_encode(np.asarray(GREY).astype(np.uint16) * 257, lossless=True))
    add("12_bit.jpg", imagecodecs.jpeg8_encode(values.astype(np.uint16) * 16, bitspersample=12))
    source = cjpeg("-sample 2x2")
    body, scan = source[:-2], source.index(b"\xff\xda")
    quarter = scan + (len(source) - scan) // 4
    half = scan + (len(source) - scan) // 2
    add("end_missing.jpg", body)
    add("end_missing_zeros.jpg", body + bytes(300))
    add("end_missing_ones.jpg", body + b"\xff" * 300)
    add("end_missing_trailer.jpg", body + b"\xff\xe5\x00\x10vendor trailer" + b"SEFH" * 40)
    add("end_missing_text.jpg", body + b"a vendor's trailer " * 20)
    add("end_then_garbage.jpg", source + b"garbage\xff\xd8\xff" * 20)
    add("cut_half.jpg", source[:half])
    add("cut_half_closed.jpg", source[:half] + b"\xff\xd9")
    add("cut_half_zeros.jpg", source[:half] + bytes(2000))
    add("cut_quarter_closed.jpg", source[:quarter] + b"\xff\xd9")
    add("cut_one_byte.jpg", source[:-3])
    add("cut_last_row.jpg", source[:-40] + b"\xff\xd9")
    progressive = cjpeg("-sample 2x2 -progressive")
    add("cut_progressive.jpg", progressive[: len(progressive) * 2 // 3])
    add("cut_progressive_closed.jpg", progressive[: len(progressive) * 2 // 3] + b"\xff\xd9")
    add("cut_before_scan.jpg", source[:scan])
    add("cut_before_scan_closed.jpg", source[:scan] + b"\xff\xd9")
    damaged = bytearray(source)
    damaged[half : half + 8] = b"\x5a\xa5\x12\x34\x00\x77\x31\x99"
    add("damaged.jpg", damaged)
    restarts = bytearray(cjpeg("-sample 1x1 -restart 1B"))
    marks = [at for at in range(len(restarts) - 1) if restarts[at] == 0xFF and 0xD0 <= restarts[at + 1] <= 0xD7]
    lost = bytes(restarts[: marks[5]] + restarts[marks[6] :])
    add("restart_lost.jpg", lost)
    doubled = bytes(restarts[: marks[5]] + restarts[marks[4] : marks[5]] + restarts[marks[5] :])
    add("restart_doubled.jpg", doubled)
    add("fill_bytes.jpg", source[:2] + b"\xff" * 9 + source[2:scan] + b"\xff" * 5 + source[scan:])
    add("stray_bytes.jpg", source[:scan] + b"stray" + source[scan:])
    add("leading_zeros.jpg", bytes(16) + source)
    add("adobe_rgb.jpg", source[:2] + b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0" + source[2:])
    jfif = source.index(b"JFIF") - 4
    bare = source[:jfif] + source[jfif + 18 :]
    add("without_jfif.jpg", bare)
    add("adobe_rgb_without_jfif.jpg", bare[:2] + b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0" + bare[2:])
    named = bytearray(cjpeg("-rgb"))
    add("rgb_by_component_names.jpg", named)
    tables, at = bytearray(), 2
    while source[at + 1] != 0xDA:
        length = int.from_bytes(source[at + 2 : at + 4], "big") + 2
        if source[at + 1] != 0xC4:
            tables += source[at : at + length]
        at += length
    add("without_huffman_tables.jpg", source[:2] + tables + source[at:])
    frame = source.index(b"\xff\xc0")
    add("height_zero.jpg", source[: frame + 5] + b"\0\0" + source[frame + 7 :])
    dnl = source[: frame + 5] + b"\0\0" + source[frame + 7 : -2] + struct.pack(">HHH", 0xFFDC, 4, HEIGHT) + b"\xff\xd9"
    add("height_in_dnl.jpg", dnl)
    app = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0" + bytes(65527)
    add("exif_empty.jpg", source[:2] + app + source[2:])
    bad = b"\xff\xe1\x00\x12Exif\0\0II*\0\xff\xff\xff\xff"
    add("exif_damaged.jpg", source[:2] + bad + source[2:])
    thumbnail = saved(flower(16, 12), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail
    add("thumbnail.jpg", source[:2] + segment + source[2:])
    add("thumbnail_cut.jpg", (source[:2] + segment + source[2:])[: half + len(segment)])
    add("jpeg_ls.jpg", imagecodecs.jpegls_encode(np.asarray(GREY)))
    add("motion_photo.jpg", source + b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(500))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour, rows, *extra, interlace=0):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlace))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def pngs():
    grey = np.asarray(GREY)
    for depth in (1, 2, 4):
        bits = np.unpackbits((grey >> (8 - depth))[:, :, None], axis=2)[:, :, -depth:].reshape(HEIGHT, -1)
        rows = [row.tobytes() for row in np.packbits(bits, axis=1)]
        add(f"grey_{depth}.png", png(depth, 0, rows))
        palette = bytes(range(0, 3 << depth))
        add(f"palette_{depth}.png", png(depth, 3, rows, chunk(b"PLTE", palette), chunk(b"tRNS", b"\x80")))
    colours = PHOTO.quantize(200)
    plain = saved(PHOTO, "PNG")
    for name, picture in {
        "rgb": PHOTO, "grey_8": GREY, "palette_8": colours, "bilevel": GREY.convert("1"),
        "grey_alpha": Image.merge("LA", (GREY, RAMP)), "rgba": Image.merge("RGBA", (*PHOTO.split(), RAMP)),
    }.items():  # fmt: skip
        add(f"{name}.png", saved(picture, "PNG"))
    add("rgb_key.png", saved(PHOTO, "PNG", transparency=(60, 110, 70)))
    add("palette_key.png", saved(colours, "PNG", transparency=3))
    rows = list(np.asarray(PHOTO).reshape(HEIGHT, -1))
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    woven = [row.tobytes() for x, y, dx, dy in passes for row in np.asarray(PHOTO)[y::dy, x::dx] if row.size]
    add("interlaced.png", png(8, 2, woven, interlace=1))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes()[6:])
    end = plain.rindex(b"IEND") - 4
    add("exif_before_pixels.png", saved(PHOTO, "PNG", exif=exif))
    add("exif_behind_pixels.png", plain[:end] + turned + plain[end:])
    add("end_missing.png", plain[:end])
    add("end_cut.png", plain[:-5])
    add("end_then_garbage.png", plain + b"garbage" * 30)
    add("cut_half.png", plain[: len(plain) // 2])
    add("cut_late.png", plain[: end - 300])
    checksum = bytearray(plain)
    checksum[29] ^= 1
    add("checksum_of_header.png", checksum)
    checksum = bytearray(plain)
    checksum[end - 1] ^= 1
    add("checksum_of_pixels.png", checksum)
    text = chunk(b"tEXt", b"key\0value")
    add("text_checksum.png", plain[:33] + text[:-1] + b"\0" + plain[33:])
    add("animated.png", saved(PHOTO, "PNG", save_all=True, append_images=[flower().rotate(90)]))
    assert rows


def gifs():
    frame = PHOTO.quantize(64)
    gif = saved(frame, "GIF")
    add("plain.gif", gif)
    add("grey.gif", saved(GREY, "GIF"))
    add("interlaced.gif", saved(frame, "GIF", interlace=1))
    add("transparent.gif", saved(frame, "GIF", transparency=2))
    add("animated.gif", saved(frame, "GIF", save_all=True, append_images=[PHOTO.rotate(90).quantize(64)]))
    add("canvas_empty.gif", gif[:6] + bytes(4) + gif[10:])
    add("canvas_larger.gif", gif[:6] + struct.pack("<HH", WIDTH + 10, HEIGHT + 5) + gif[10:])
    add("canvas_smaller.gif", gif[:6] + struct.pack("<HH", WIDTH - 10, HEIGHT - 5) + gif[10:])
    at = gif.index(b",", 13 + 3 * 64)
    moved = bytearray(gif)
    moved[at + 1 : at + 5] = struct.pack("<HH", 4, 3)
    moved[6:10] = struct.pack("<HH", WIDTH + 10, HEIGHT + 5)
    add("frame_moved.gif", moved)
    add("end_missing.gif", gif[:-1])
    add("cut_half.gif", gif[: len(gif) // 2])
    add("without_frame.gif", gif[:at] + b";")


def bmps_and_others():
    for name, picture in {
        "rgb": PHOTO, "grey": GREY, "palette": PHOTO.quantize(16), "bilevel": GREY.convert("1"),
        "rgba": Image.merge("RGBA", (*PHOTO.split(), RAMP)),
    }.items():  # fmt: skip
        add(f"{name}.bmp", saved(picture, "BMP"))
    plain = FILES["rgb.bmp"]
    rows = np.asarray(PHOTO)
    top_down = bytearray(plain)
    top_down[22:26] = struct.pack("<i", -HEIGHT)
    add("top_down.bmp", top_down)
    five = (rows.astype(np.uint16) >> 3) @ np.array([1 << 10, 1 << 5, 1], np.uint16)
    five = np.pad(five[::-1], ((0, 0), (0, WIDTH % 2))).astype("<u2").tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 16, 0, len(five), 0, 0, 0, 0)
    add("rgb555.bmp", struct.pack("<2sIHHI", b"BM", 54 + len(five), 0, 0, 54) + head + five)
    add("cut_half.bmp", plain[: len(plain) // 2])
    add("cut_one_row.bmp", plain[:-100])
    for quality in (10, 90):
        add(f"lossy_{quality}.webp", saved(PHOTO, "WEBP", quality=quality))
    alpha = Image.merge("RGBA", (*PHOTO.split(), RAMP))
    add("lossless.webp", saved(PHOTO, "WEBP", lossless=True))
    add("alpha.webp", saved(alpha, "WEBP", quality=80))
    add("alpha_lossless.webp", saved(alpha, "WEBP", lossless=True))
    exif = Image.Exif()
    exif[0x0112] = 8
    add("exif.webp", saved(PHOTO, "WEBP", lossless=True, exif=exif))
    add("animated.webp", saved(PHOTO, "WEBP", lossless=True, save_all=True, append_images=[PHOTO.rotate(90)]))
    add("cut_half.webp", FILES["lossless.webp"][: len(FILES["lossless.webp"]) // 2])
    add("rgb.ppm", saved(PHOTO, "PPM"))
    add("grey.pgm", saved(GREY, "PPM"))
    add("bilevel.pbm", saved(GREY.convert("1"), "PPM"))
    text = " ".join(map(str, rows.ravel()))
    add("text.ppm", f"P3\n# a comment\n{WIDTH} {HEIGHT}\n255\n{text}\n".encode())
    add("text.pgm", f"P2 {WIDTH} {HEIGHT} 255 {' '.join(map(str, np.asarray(GREY).ravel()))}".encode())
    bits = " ".join(str(int(value)) for value in np.asarray(GREY).ravel() < 128)
    add("text.pbm", f"P1 {WIDTH} {HEIGHT} {bits}".encode())
    deep = (rows.astype(">u2") * 257).astype(">u2").tobytes()
    add("deep.ppm", f"P6 {WIDTH} {HEIGHT} 65535\n".encode() + deep)
    add("maximum_100.pgm", f"P5 {WIDTH} {HEIGHT} 100\n".encode() + (np.asarray(GREY) * 100.0 / 255).astype(np.uint8).tobytes())
    add("cut_half.ppm", FILES["rgb.ppm"][:2000])
    header = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    add("rgb.pam", header.encode() + rows.tobytes())
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
        add(f"{sampling.replace(':', '')}.avif", saved(PHOTO, "AVIF", quality=80, subsampling=sampling))
    add("alpha.avif", saved(alpha, "AVIF", quality=80))
    exif[0x0112] = 6
    add("exif.avif", saved(PHOTO, "AVIF", quality=90, exif=exif))
    add("cut_half.avif", FILES["444.avif"][: len(FILES["444.avif"]) // 2])
    add("lossless.avif", saved(PHOTO, "AVIF", quality=100, subsampling="4:4:4"))
    add("animated.avif", saved(PHOTO, "AVIF", quality=80, save_all=True, append_images=[PHOTO.rotate(90)]))
    add("deep.avif", imagecodecs.avif_encode(rows.astype(np.uint16) * 4, bitspersample=10, level=80))
    add("jpeg2000.jp2", saved(PHOTO, "JPEG2000"))
    add("icon.ico", saved(PHOTO.resize((32, 32)), "ICO"))


def tiff(tags, data, big=False, order="<"):
    """A TIFF of one strip: {tag: (type, values)}; widths of types 1 byte, 3 short, 4 long, 5 rational."""
    formats = {1: "B", 3: "H", 4: "I", 5: "I", 11: "f", 12: "d", 16: "Q"}
    head = 16 if big else 8
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 278: (4, [HEIGHT]), 273: (4, [head]), 279: (4, [len(data)])} | tags
    tags = {tag: value for tag, value in tags.items() if value}
    word, room = ("Q", 8) if big else ("I", 4)
    extra_at = head + len(data) + (8 + 20 * len(tags) + 8 if big else 2 + 12 * len(tags) + 4)
    entries, extra = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        count = len(values) // 2 if kind == 5 else len(values)
        if len(packed) > room:
            place = struct.pack(order + word, extra_at + len(extra))
            extra += packed
        else:
            place = packed.ljust(room, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, kind, count) + place
    first = head + len(data)
    magic = b"II" if order == "<" else b"MM"
    if big:
        header = magic + struct.pack(order + "HHHQ", 43, 8, 0, first)
        return header + data + struct.pack(order + "Q", len(tags)) + entries + bytes(8) + extra
    header = magic + struct.pack(order + "HI", 42, first)
    return header + data + struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra


def tiffs():
    rows, grey = np.asarray(PHOTO), np.asarray(GREY)
    alpha = Image.merge("RGBA", (*PHOTO.split(), RAMP))
    pictures = {
        "rgb": PHOTO, "grey": GREY, "palette": PHOTO.quantize(64), "bilevel": GREY.convert("1"), "cmyk": CMYK,
        "rgba": alpha, "grey_alpha": Image.merge("LA", (GREY, RAMP)), "float": Image.fromarray(grey.astype("f4")),
        "grey_16": Image.fromarray(grey.astype(np.uint16) * 257), "lab": Image.merge("LAB", PHOTO.split()),
        "int_32": Image.fromarray(grey.astype(np.int32)), "ycbcr": PHOTO.convert("YCbCr"),
    }  # fmt: skip
    for name, picture in pictures.items():
        add(f"{name}.tif", saved(picture, "TIFF"))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma", "jpeg"):
        add(f"rgb_{compression}.tif", saved(PHOTO, "TIFF", compression=compression))
    for compression in ("group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw"):
        add(f"bilevel_{compression}.tif", saved(GREY.convert("1"), "TIFF", compression=compression))
    for name in ("grey", "palette", "grey_alpha", "rgba", "cmyk", "float", "grey_16"):
        add(f"{name}_lzw.tif", saved(pictures[name], "TIFF", compression="tiff_lzw"))
    for name in ("grey", "palette", "rgba"):
        add(f"{name}_zstd.tif", saved(pictures[name], "TIFF", compression="zstd"))
    add("ycbcr_jpeg.tif", saved(PHOTO.convert("YCbCr"), "TIFF", compression="jpeg"))
    add("grey_jpeg.tif", saved(GREY, "TIFF", compression="jpeg"))
    add("cmyk_jpeg.tif", saved(CMYK, "TIFF", compression="jpeg"))
    add("predictor.tif", saved(PHOTO, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
    add("big.tif", saved(PHOTO, "TIFF", big_tiff=True))
    add("big_lzw.tif", saved(PHOTO, "TIFF", big_tiff=True, compression="tiff_lzw"))
    add("pages.tif", saved(PHOTO, "TIFF", save_all=True, append_images=[GREY]))
    exif = Image.Exif()
    exif[0x0112] = 6
    add("exif.tif", saved(PHOTO, "TIFF", exif=exif))
    rgb = {258: (3, [8, 8, 8]), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    add("big_endian.tif", tiff(rgb, rows.tobytes(), order=">"))
    add("planar.tif", tiff(rgb | {284: (3, [2]), 273: (4, [8, 8 + grey.size, 8 + 2 * grey.size]),
                                  279: (4, [grey.size] * 3)}, rows.transpose(2, 0, 1).tobytes()))  # fmt: skip
    add("rgb_16.tif", tiff(rgb | {258: (3, [16] * 3)}, (rows.astype("<u2") * 257).tobytes()))
    one = {258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1])}
    add("white_is_zero.tif", tiff(one | {262: (3, [0])}, grey.tobytes()))
    for depth in (2, 4):
        bits = np.unpackbits((grey >> (8 - depth))[:, :, None], axis=2)[:, :, -depth:].reshape(HEIGHT, -1)
        data = np.packbits(bits, axis=1).tobytes()
        add(f"grey_{depth}.tif", tiff(one | {258: (3, [depth])}, data))
        colours = [value * 65535 // ((1 << depth) * 3) for value in range(3 << depth)]
        add(f"palette_{depth}.tif", tiff(one | {258: (3, [depth]), 262: (3, [3]), 320: (3, colours)}, data))
    add("float_unit.tif", tiff(one | {258: (3, [32]), 339: (3, [3])}, (grey / 255).astype("<f4").tobytes()))
    add("double.tif", tiff(one | {258: (3, [64]), 339: (3, [3])}, grey.astype("<f8").tobytes()))
    add("signed_16.tif", tiff(one | {258: (3, [16]), 339: (3, [2])}, grey.astype("<i2").tobytes()))
    extra = rgb | {258: (3, [8] * 4), 277: (3, [4])}
    four = np.asarray(alpha).tobytes()
    for name, kind in (("unspecified", 0), ("premultiplied", 1), ("separate", 2)):
        add(f"extra_{name}.tif", tiff(extra | {338: (3, [kind])}, four))
    add("cut_half.tif", FILES["rgb.tif"][: len(FILES["rgb.tif"]) // 2])
    tiled = np.zeros((32, 48, 3), np.uint8)
    tiled[:HEIGHT, :WIDTH] = rows
    tiles = b"".join(tiled[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32))
    tags = rgb | {273: None, 278: None, 279: None, 322: (4, [16]), 323: (4, [16]), 324: (4, [8 + 768 * n for n in range(6)]), 325: (4, [768] * 6)}
    add("tiled.tif", tiff(tags, tiles))


def expected(data):
    """The first frame as Pillow sees it; None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data))
            return ImageOps.exif_transpose(picture).convert("RGB")
    except Exception:
        return None


def main():
    for make in (pillow_jpegs, sampled_jpegs, scanned_jpegs, unusual_jpegs, pngs, gifs, bmps_and_others, tiffs):
        make()
    faults = {f"faults/{path.name}": path.read_bytes() for path in FAULTS.iterdir()}
    entries, table, refused = dict(sorted(FILES.items())), io.StringIO(), 0
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["file", "pixels"])
    for name, data in sorted((FILES | faults).items()):
        picture = expected(data)
        refused += picture is None
        pixels = ""
        if picture is not None:
            content = saved(picture, "PNG", optimize=True)
            pixels = f"pixels_{hashlib.sha256(content).hexdigest()[:12]}.png"
            entries[pixels] = content
        rows.writerow([name, pixels])
    entries["table.csv"] = table.getvalue().encode()
    with zipfile.ZipFile(ZIP, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(zipfile.ZipInfo(entry), content)
            if len(sys.argv) == 2:
                Path(sys.argv[1], entry).write_bytes(content)
    print(f"{len(FILES)} files, {refused} refused by Pillow, {ZIP.stat().st_size} bytes")


if __name__ == "__main__":
    main()

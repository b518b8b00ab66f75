"""Makes the pictures and expected values in tests/golden/images/ with Pillow and torchvision.

    python tests/golden/images.py

Made with Pillow 13.0.0, torch 2.13.0, torchvision 0.28.0, numpy.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as F
from torchvision.transforms.autoaugment import _apply_op
from PIL import Image, ImageOps

FOLDER = Path(__file__).with_suffix("")


def scene(width, height, seed):
    """Smooth colours, a hard edge and a little noise: what photos are made of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    channels = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-9, 9, (3, 3))]
    values = 128 + 110 * np.stack(channels, -1)
    values[(x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.04] = rng.uniform(0, 255, 3)
    values += rng.normal(0, 6, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def rgb(path):
    """What Pillow makes of a file: the first frame, upright, without alpha."""
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def png16(path, values):
    """Writes (height, width, 3) uint16 values, which Pillow can't."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def decoding():
    photo = scene(24, 16, 1)
    alpha = Image.fromarray(np.linspace(0, 255, 24 * 16).reshape(16, 24).astype(np.uint8))
    palette = photo.quantize(16)
    cmyk = Image.merge("CMYK", (*photo.split(), alpha.transpose(Image.Transpose.ROTATE_180)))
    frames = [scene(24, 16, seed).quantize(32) for seed in (2, 3)]

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(FOLDER / f"exif{orientation}.jpg", quality=90, exif=exif)
    photo.save(FOLDER / "progressive.jpg", quality=85, progressive=True)
    scene(57, 41, 4).save(FOLDER / "subsampled.jpg", quality=85, subsampling="4:2:0")
    photo.convert("L").save(FOLDER / "grey.jpg", quality=90)
    cmyk.save(FOLDER / "cmyk.jpg", quality=95)
    # The same bytes read as YCCK: the transform byte of the Adobe segment says which.
    data = bytearray((FOLDER / "cmyk.jpg").read_bytes())
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    data[at + 11] = 2
    (FOLDER / "ycck.jpg").write_bytes(data)
    photo.convert("1").save(FOLDER / "bilevel.png")
    palette.save(FOLDER / "palette.png", transparency=3)
    Image.merge("LA", (photo.convert("L"), alpha)).save(FOLDER / "grey_alpha.png")
    Image.merge("RGBA", (*photo.split(), alpha)).save(FOLDER / "rgba.png")
    Image.new("RGB", (1, 1), (10, 200, 30)).save(FOLDER / "one_pixel.png")
    frames[0].save(FOLDER / "animated.gif", save_all=True, append_images=frames[1:])
    frames[0].convert("RGB").save(
        FOLDER / "animated.webp", save_all=True, append_images=[frames[1].convert("RGB")], lossless=True
    )
    photo.save(FOLDER / "lossy.webp", quality=90)
    palette.save(FOLDER / "palette.bmp")
    photo.save(FOLDER / "lzw.tiff", compression="tiff_lzw")
    cmyk.save(FOLDER / "cmyk.tiff")
    for path in sorted(FOLDER.iterdir()):
        rgb(path).save(FOLDER / f"{path.name}.expected.png", optimize=True)

    # Where Pillow clips instead of scaling (or can't write the file), numpy says what is right.
    ramp = np.linspace(0, 65535, 24 * 16).round().astype(np.uint16).reshape(16, 24)
    Image.fromarray(ramp).save(FOLDER / "grey16.png")
    eight = (ramp / 257).round().astype(np.uint8)
    Image.fromarray(np.stack([eight] * 3, -1)).save(FOLDER / "grey16.png.expected.png")
    deep = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1)
    png16(FOLDER / "rgb16.png", deep)
    Image.fromarray((deep / 257).round().astype(np.uint8)).save(FOLDER / "rgb16.png.expected.png")
    # Pillow writes no colour in floats: an uncompressed TIFF is a header and one directory.
    unit = (deep / 65535 * 1.25 - 0.125).astype("<f4")
    at = 8 + unit.nbytes
    tags = [(256, 3, 1, 24), (257, 3, 1, 16), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, 16), (279, 4, 1, unit.nbytes)]
    tags += [(339, 3, 3, at + 6)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (FOLDER / "float.tiff").write_bytes(
        struct.pack("<2sHI", b"II", 42, at + 12) + unit.tobytes() + struct.pack("<6H", *[32] * 3, *[3] * 3)
        + directory + struct.pack("<I", 0)
    )
    eight = (unit.clip(0, 1) * np.float32(255)).round().astype(np.uint8)
    Image.fromarray(eight).save(FOLDER / "float.tiff.expected.png")


def fitting():
    pictures = {
        "landscape": scene(97, 64, 5),
        "portrait": scene(51, 120, 6),
        "small": scene(13, 17, 7),
        "narrow": scene(3, 300, 8),
        "one_pixel": Image.new("RGB", (1, 1), (10, 200, 30)),
    }
    modes = {"bilinear": T.InterpolationMode.BILINEAR, "bicubic": T.InterpolationMode.BICUBIC}
    for name, picture in pictures.items():
        picture.save(FOLDER / f"fit_{name}.png", optimize=True)
        for resize, crop, mode in [
            (32, 28, "bilinear"),
            (33, 28, "bicubic"),
            (24, 31, "bilinear"),
            (80, 25, "bilinear"),
        ]:
            fitted = T.CenterCrop(crop)(T.Resize(resize, modes[mode])(picture))
            fitted.save(FOLDER / f"fit_{name}_{resize}_{crop}_{mode}.png", optimize=True)
    picture = pictures["landscape"]
    tensor = F.pil_to_tensor(picture)
    plain = F.center_crop(F.resize(tensor, 32, antialias=False), 28)
    F.to_pil_image(plain).save(FOLDER / "fit_landscape_no_antialias.png", optimize=True)
    fitted = T.CenterCrop(28)(T.Resize(32)(picture))
    planes = F.normalize(F.to_tensor(fitted), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    (FOLDER / "normalised.f32").write_bytes(planes.numpy().astype("<f4").tobytes())


def affine(picture, rotation, shift, shear, zoom):
    """Zoom, shear, rotation, shift about the centre by torch's grid_sample, edges repeated."""
    width, height = picture.size
    t = np.deg2rad(rotation)
    turn = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])  # y points down
    forward = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(zoom)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    place = np.stack([x - width / 2 - shift[0] * width, y - height / 2 - shift[1] * height], -1)
    source = place @ np.linalg.inv(forward).T
    grid = torch.from_numpy(source / [width / 2, height / 2])[None]
    tensor = torch.from_numpy(np.asarray(picture).astype(np.float64)).permute(2, 0, 1)[None]
    out = torch.nn.functional.grid_sample(
        tensor, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return Image.fromarray((out[0].permute(1, 2, 0).numpy() + 0.5).astype(np.uint8))


# Name, torchvision's operation, its magnitude.
POLICY = [
    ("shear_x_0.3", "ShearX", 0.3),
    ("shear_x_-0.99", "ShearX", -0.99),
    ("shear_y_0.297", "ShearY", 0.297),
    ("shear_y_-0.66", "ShearY", -0.66),
    ("translate_x_7.3", "TranslateX", 7.3),
    ("translate_x_-32", "TranslateX", -32.0),
    ("translate_y_11", "TranslateY", 11.0),
    ("translate_y_-4.9", "TranslateY", -4.9),
    ("turn_135", "Rotate", 135.0),
    ("turn_-9", "Rotate", -9.0),
    ("brighter_0.99", "Brightness", 0.99),
    ("brighter_-0.27", "Brightness", -0.27),
    ("colour_0.9", "Color", 0.9),
    ("colour_-0.99", "Color", -0.99),
    ("contrast_up_0.66", "Contrast", 0.66),
    ("contrast_down_0.9", "Contrast", -0.9),
    ("sharper_0.99", "Sharpness", 0.99),
    ("sharper_-0.9", "Sharpness", -0.9),
    ("posterize_2", "Posterize", 2.0),
    ("posterize_7", "Posterize", 7.0),
    ("solarize_178.5", "Solarize", 178.5),
    ("solarize_85", "Solarize", 85.0),
    ("autocontrast", "AutoContrast", 0.0),
    ("equalize", "Equalize", 0.0),
]


def policy():
    # Values of a part of the range, in few grades, so that autocontrast and equalize have work to do.
    values = np.asarray(scene(48, 36, 11)).astype(float)
    values = np.stack([20 + values[..., 0] * 0.7, values[..., 1], (values[..., 2] // 9) * 8], -1)
    picture = Image.fromarray(values.astype(np.uint8))
    picture.save(FOLDER / "policy.png", optimize=True)
    for name, operation, magnitude in POLICY:
        result = _apply_op(picture, operation, magnitude, T.InterpolationMode.NEAREST, None)
        result.save(FOLDER / f"policy_{name}.png", optimize=True)
    tensor = F.normalize(F.to_tensor(picture), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    erased = F.erase(tensor, 5, 9, 12, 20, torch.tensor(0.0))
    (FOLDER / "policy_erased.f32").write_bytes(erased.numpy().astype("<f4").tobytes())
def rotate(picture, degrees):
    return F.rotate(picture, degrees, T.InterpolationMode.BILINEAR)


def augmenting():
    picture = scene(48, 36, 9)
    # A corner with any colour: hue and saturation meet all their cases.
    values = np.asarray(picture).copy()
    values[:20, :20] = np.random.default_rng(10).integers(0, 256, (20, 20, 3))
    picture = Image.fromarray(values)
    results = {
        "augment": picture,
        "flip_horizontal": F.hflip(picture),
        "flip_vertical": F.vflip(picture),
        "rotate_17.25": rotate(picture, 17.25),
        "rotate_-30": rotate(picture, -30),
        "rotate_90": rotate(picture, 90),
        "enlarged_turned": rotate(F.hflip(F.resized_crop(picture, 3, 5, 20, 30, [48, 48])), 17.25),
        "shrunk_turned": rotate(F.vflip(F.resized_crop(picture, 1, 2, 34, 44, [24, 24])), -30),
        "crop_5_3_30_20": F.resized_crop(picture, 3, 5, 20, 30, [28, 28]),
        "crop_40_30_8_6": F.resized_crop(picture, 30, 40, 6, 8, [28, 28]),
        "brightness_0.75": F.adjust_brightness(picture, 0.75),
        "brightness_1.2": F.adjust_brightness(picture, 1.2),
        "contrast_0.8": F.adjust_contrast(picture, 0.8),
        "contrast_1.2": F.adjust_contrast(picture, 1.2),
        "saturation_0.8": F.adjust_saturation(picture, 0.8),
        "saturation_1.2": F.adjust_saturation(picture, 1.2),
        "hue_0.1": F.adjust_hue(picture, 0.1),
        "hue_-0.07": F.adjust_hue(picture, -0.07),
        "hue_0.5": F.adjust_hue(picture, 0.5),
        "jitter": F.adjust_saturation(
            F.adjust_hue(F.adjust_contrast(F.adjust_brightness(picture, 1.2), 0.8), 0.1), 1.2
        ),
        "affine_turned": affine(picture, 35, (0, 0), 0, (1, 1)),
        "affine_all": affine(picture, -20, (0.1, -0.15), 0.2, (0.8, 1.2)),
    }
    for name, result in results.items():
        result.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    decoding()
    fitting()
    augmenting()
    policy()

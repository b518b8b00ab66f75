"""Makes the HEIC and AVIF pictures of heif/, and what Pillow reads from them.

    python tests/golden/heif.py

Made with Pillow 13.0.0 (its libavif) and pillow-heif 1.8.1 (libheif 1.23.6, x265 4.3).
"""

from pathlib import Path

import pillow_heif
from formats import flower
from PIL import Image, ImageOps

FOLDER = Path(__file__).with_name("heif")

pillow_heif.register_heif_opener()
FOLDER.mkdir(exist_ok=True)
turned = Image.Exif()
turned[0x0112] = 6  # to be turned by 90 degrees
for name, options in {
    "photo.heic": {"quality": 90},
    "turned.heic": {"quality": 90, "exif": turned.tobytes()},
    # Libraries differ in how they bring chroma to full size.
    "photo.avif": {"quality": 90, "subsampling": "4:4:4"},
}.items():
    path = FOLDER / name
    flower(64, 48).save(path, **options)
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    upright.save(path.with_suffix(path.suffix + ".png"), optimize=True)

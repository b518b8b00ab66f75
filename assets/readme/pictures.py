#!/usr/bin/env python3
"""Make the README's pictures: the upload page, the report, the confusion matrix.

usage: pictures.py FLOWERS DEMO RUN

FLOWERS is the binary, DEMO what `make demo` left, for the page, RUN what `flowers train` left, for
the rest. Needs chromium, chromedriver, Pillow, and a font with Chinese such as Debian's
fonts-noto-cjk.
"""

import base64
import io
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


class Browser:
    """A headless Chromium over the WebDriver protocol."""

    def __init__(self, language, width, dark=False, phone=False):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        started = next(line for line in self.driver.stdout if "successfully on port" in line)
        self.address = "http://127.0.0.1:" + started.rsplit(" ", 1)[1].strip(".\n")
        options = {
            "args": FLAGS + [f"--user-data-dir={self.profile.name}"],
            "prefs": {"intl.accept_languages": language},
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        session = self.call("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.address += "/session/" + session["sessionId"]
        screen = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": phone}
        self.chrome("Emulation.setDeviceMetricsOverride", screen)
        self.chrome("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.chrome("Emulation.setEmulatedMedia", {"features": [scheme]})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        urllib.request.urlopen(urllib.request.Request(self.address, method="DELETE"))
        self.driver.kill()
        self.driver.wait()
        self.profile.cleanup()

    def call(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))["value"]

    def chrome(self, command, parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("/url", {"url": url})

    def wait(self, expression):
        for _ in range(400):
            if self.call("/execute/sync", {"script": f"return Boolean({expression})", "args": []}):
                return
            time.sleep(0.05)
        sys.exit(f"the page never came to {expression}")

    def choose(self, file):
        found = self.call("/element", {"using": "css selector", "value": "#file"})
        (element,) = found.values()
        self.call(f"/element/{element}/value", {"text": str(file)})

    def picture(self):
        shot = {"format": "png", "captureBeyondViewport": True}
        data = self.chrome("Page.captureScreenshot", shot)["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def page(address, photo, language, dark):
    """The upload page on a phone, with its answer."""
    with Browser(language, 390, dark, phone=True) as browser:
        browser.open(address)
        browser.wait("!document.querySelector('#page').hidden")
        browser.choose(photo)
        answered = "document.querySelector('#class').innerText"
        browser.wait(f"{answered} && document.querySelector('#preview').naturalWidth")
        time.sleep(1)  # until the bars have grown
        return browser.picture()


def report(file):
    """The report's first screens on a desktop."""
    with Browser("en", 1100) as browser:
        browser.open(file.resolve().as_uri())
        browser.wait("document.fonts.status === 'loaded'")
        return browser.picture()


def side_by_side(pictures, gap):
    """Pictures in a row, shorter ones continued in the colour of their lower left corner."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (width, height), "white")
    left = 0
    for picture in pictures:
        ground = picture.getpixel((0, picture.height - 1))
        canvas.paste(ground, (left, 0, left + picture.width, height))
        canvas.paste(picture, (left, 0))
        left += picture.width + gap
    return canvas


def save(picture, name, width):
    """A small PNG: shrunk, and with a palette."""
    height = round(picture.height * width / picture.width)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture = picture.quantize(128, dither=Image.Dither.NONE)
    picture.save(HERE / name, optimize=True)
    print(f"{name}: {width}x{height}, {(HERE / name).stat().st_size // 1000} kB")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    flowers, demo, run = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3])
    photo = demo / "new/rose/rose-0001.jpg"
    port = "5987"
    model = demo / "run/model.safetensors"
    server = subprocess.Popen([flowers, "serve", model, "--port", port])
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(200):
            try:
                urllib.request.urlopen(address + "readyz")
                break
            except OSError:
                time.sleep(0.1)
        phones = [page(address, photo, "en", False), page(address, photo, "zh-CN,zh", True)]
    finally:
        server.terminate()
        server.wait()
    save(side_by_side(phones, 40), "page.png", 820)
    whole = report(run / "report.html")
    save(whole.crop((0, 0, whole.width, min(whole.height, 2 * 860))), "report.png", 1100)
    save(Image.open(run / "confusion_matrix.png").convert("RGB"), "confusion_matrix.png", 760)


if __name__ == "__main__":
    main()

"""report.html: its content, read by another parser, and what it does in a real browser."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from common import images
from common.evaluation import report
from common.evaluation.report import Report, Shown
from common.evaluation.table import Figure, Table, evaluate, psnr_figure
from common.images.pairs import find_pairs
from common.images.resize import imresize
from common.metrics.fidelity import Convention

EVIL = "<img src=x onerror=alert(1)>\"'&amp;</script><script>alert(2)</script>$title"
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 30), (30, 30, 200), (255, 255, 255)
PSNR, LPIPS = "PSNR-Y (crop 2)", "LPIPS (AlexNet v0.1)"


def table_of(rows, columns=("bicubic", "SR"), title="Set5 x2"):
    """Two figures, of which the second is a hundredth of the first."""
    figures = [Figure(PSNR, None, 2, columns), Figure(LPIPS, None, 4, columns)]
    values = {name: {PSNR: row, LPIPS: tuple(value / 100 for value in row)} for name, row in rows.items()}
    return Table(title, figures, values, {name: 0.125 + place for place, name in enumerate(rows)})


def noisy(seed, height=24, width=36):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(tmp_path, name, seed=1, ways=1):
    """(what is shown, the pixels of its results); 24x36, x2."""
    made = [noisy(10 * seed + way) for way in range(ways)]
    paths = [tmp_path / "made" / f"{seed}_{way}.png" for way in range(ways)]
    for path, pixels in zip(paths, made, strict=True):
        images.write_image(path, pixels)
    return Shown(name, noisy(seed), noisy(seed + 500, 12, 18), paths), made


def write(folder, rows, *rest, columns=("bicubic", "SR"), **more):
    Report(folder / "report.html", "WDSR", "demo.ckpt", 2).add("Set5", table_of(rows, columns), *rest, **more)
    return Page(folder)


class Page(HTMLParser):
    """Has the start tags with their attributes, and by tag the texts directly in it, of the report in a folder."""

    def __init__(self, folder):
        super().__init__()
        self.tags, self.texts, self.stack = [], {}, []
        self.feed((folder / "report.html").read_text(encoding="utf-8"))
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "input"):
            self.stack.append(tag)
        if tag == "tr":
            self.texts.setdefault("rows", []).append([])
        elif tag in ("td", "th"):
            self.texts["rows"][-1].append("")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.stack[-1] if self.stack else "", []).append(data)
        if {"td", "th"} & set(self.stack):
            self.texts["rows"][-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def images(self):
        """Decoded, by their alternative text."""
        data = {image["alt"]: image["src"].removeprefix("data:image/png;base64,") for image in self.all("img")}
        return {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for alt, text in data.items()}


def test_the_table_and_its_mean(tmp_path):
    page = write(tmp_path, {"b10": (9.5, 33.333333), "a": (100.25, 30.0), "c": (28.125, math.inf)})
    head, columns, first, *_, mean = page.texts["rows"]
    assert (head, columns[:3]) == (["", PSNR, LPIPS, ""], ["image", "bicubic", "SR"])
    assert first == ["b10", "9.50", "33.33", "0.0950", "0.3333", "0.12"]
    assert [row[0] for row in page.texts["rows"][2:]] == ["b10", "a", "c", "mean"]
    assert (mean[1], mean[2], mean[-1]) == (f"{(9.5 + 100.25 + 28.125) / 3:.2f}", "inf", f"{3.375 / 3:.2f}")
    sorted_by = [attributes["data-value"] for attributes in page.all("td") if "data-value" in attributes]
    assert (sorted_by[1], sorted_by[11]) == ("33.333333", "Infinity"), "all digits, as JavaScript spells them"


def test_the_head_says_what_was_measured_and_how(tmp_path):
    page_of = Report(tmp_path / "report.html", "WDSR", "/w/demo.ckpt", 2)
    for name in ("Set5", "Set14"):
        page_of.add(name, table_of({"a": (1.0, 2.0)}))
    page = Page(tmp_path)
    facts = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", facts.pop("Evaluated"))
    assert facts == {"Model": "WDSR", "Checkpoint": "/w/demo.ckpt", "Data": "Set5, Set14", "Scale": "x2"}
    assert (page.texts["h1"], page.texts["h2"]) == (["WDSR x2 on Set5, Set14"], ["Set5", "Set14"])
    said = {line.partition(":")[0] for line in page.texts["li"]}
    assert said >= {"PSNR", "LPIPS", "-Y", "crop N"}
    assert not {"SSIM", "-RGB", "LR-PSNR"} & said, "not in these tables"


def test_the_images_are_there_pixel_for_pixel(tmp_path):
    """Of two ways; an image that is not in the table is left out."""
    first, (calm, hot) = shown(tmp_path, "baby", ways=2)
    stranger, _ = shown(tmp_path, "left out of the table", 2)
    page = write(tmp_path, {"baby": (30, 35.129, 9)}, [stranger, first], 5, columns=("bicubic", "heat 0", "heat 0.9"))
    wanted = {"bicubic": imresize(first.lr, 2), "heat 0": calm, "heat 0.9": hot, "HR": first.hr}
    found = page.images()
    assert list(found) == [f"baby, {name}" for name in wanted]
    assert all(np.array_equal(found[f"baby, {name}"], pixels) for name, pixels in wanted.items())
    captions = [attributes["data-caption"] for attributes in page.all("div") if "data-caption" in attributes]
    assert captions == ["bicubic: 30.00", "heat 0: 35.13", "heat 0.9: 9.00", "HR"]
    assert page.texts["option"] == [
        "bicubic | heat 0", "heat 0 | HR", "heat 0 | heat 0.9", "heat 0.9 | HR", "bicubic | heat 0.9",
    ]  # fmt: skip
    assert any("means over 5 samples" in text for text in page.texts["p"])


def test_names_are_text_whatever_they_hold(tmp_path):
    """The same tags with the same attributes as with a plain name; nothing is loaded from elsewhere."""
    pages = []
    for name in ("plain", EVIL):
        folder = tmp_path / str(len(pages))
        table = table_of({name: (1.0, 2.0)}, ("bicubic", name), title=name)
        Report(folder / "report.html", name, name, 2).add(name, table, [shown(tmp_path, name)[0]])
        pages.append(Page(folder))
    plain, evil = ([(tag, sorted(attributes)) for tag, attributes in page.tags] for page in pages)
    assert plain == evil
    page = pages[1]
    assert [row[0] for row in page.texts["rows"][2:]] == [EVIL, "mean"]
    assert list(page.images())[1] == f"{EVIL}, {EVIL}"
    assert page.all("meta")[1]["content"].startswith("default-src 'none'; img-src data:;")
    addresses = [a[key] for _, a in page.tags for key in ("src", "href", "srcset", "action") if key in a]
    assert all(address.startswith(("data:", "#set")) for address in addresses)


def test_what_is_too_much_is_left_out_and_said(tmp_path, monkeypatch):
    chosen = [shown(tmp_path, name, seed)[0] for seed, name in enumerate("abc", 1)]
    rows = dict.fromkeys("abc", (1.0, 2.0))
    write(tmp_path / "all", rows, chosen)
    monkeypatch.setattr(report, "PAGE_BYTES", (tmp_path / "all" / "report.html").stat().st_size * 2 // 3)
    page = write(tmp_path / "some", rows, chosen)
    assert {alt.partition(",")[0] for alt in page.images()} == {"a", "b"}
    assert [row[0] for row in page.texts["rows"][2:]] == ["a", "b", "c", "mean"]
    assert any(text.startswith("2 of 3 images are shown") for text in page.texts["p"])


def test_what_evaluate_wrote_is_what_is_shown(tmp_path):
    """The HR image is cut to a multiple of the scale."""
    images.write_image(tmp_path / "HR" / "a.png", noisy(3, 41, 50))
    pairs, out = find_pairs(tmp_path / "HR", None, 2), tmp_path / "out"
    figures = [psnr_figure(Convention("rgb", 0))]
    table = evaluate("Set5 x2", pairs, lambda lr: 255 - imresize(lr, 2), figures, 2, out / "Set5")
    Report(out / "report.html", "WDSR", "demo.ckpt", 2).add("Set5", table, report.of_pairs(pairs, 2, out / "Set5"))
    found = Page(out).images()
    assert np.array_equal(found["a, HR"], noisy(3, 41, 50)[:40])
    assert np.array_equal(found["a, SR"], 255 - found["a, bicubic"])


# --- in a browser ---------------------------------------------------------------------------------------------------

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--force-device-scale-factor=1", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """A headless Chromium, spoken to over its two pipes (DevTools protocol: JSON, ended by a zero byte)."""

    def __init__(self, profile):
        reads, self.speak = os.pipe()
        self.listen, writes = os.pipe()
        words = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", *words],
            pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self.number, self.unread, self.events, self.session = 0, b"", [], {}
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        answer = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = {"sessionId": answer["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.unread:
            data = os.read(self.listen, 2**20)
            assert data, "Chromium has ended"
            self.unread += data
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **self.session}
        os.write(self.speak, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path):
        self.send("Emulation.setDeviceMetricsOverride", width=800, height=900, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        self.run("Promise.all([...document.images].map((image) => image.decode()))")

    def run(self, code):
        answer = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def box(self, selector):
        """(left, top, width, height) on the screen, scrolled to."""
        return self.run(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{ block: "center" }});
            const box = element.getBoundingClientRect();
            return [box.left, box.top, box.width, box.height];
        }})()""")

    def click(self, selector, across=0.5):
        left, top, width, height = self.box(selector)
        self.drag((left + across * width, top + height / 2))

    def drag(self, *points):
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def line(self):
        """Pixels of the image from left to right, below the handle and the captions."""
        left, top, width, height = self.box(".view")
        assert (width, height) == (320, 240), "twice the image"
        clip = {"x": left, "y": top + self.run("scrollY"), "width": width, "height": height, "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", clip=clip)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[200]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("needs Chromium: apt-get install -y chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.process.kill()
    browser.process.wait()


@pytest.fixture
def opened(browser, tmp_path):
    """A page with one image of 160x120: bicubic red, SR green, HR blue, the last two with a white bar of 8 pixels."""
    sr, hr = (np.full((120, 160, 3), colour, np.uint8) for colour in (GREEN, BLUE))
    sr[:, 76:84] = hr[:, 76:84] = WHITE
    images.write_image(tmp_path / "sr.png", sr)
    image = Shown(EVIL, hr, np.full((60, 80, 3), RED, np.uint8), [tmp_path / "sr.png"])
    write(tmp_path, {EVIL: (9.5, 33.3), "b": (100.25, 30.0), "c": (28.0, math.inf), "d": (math.nan, 5.0)}, [image])
    browser.open(tmp_path / "report.html")
    yield browser
    kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}
    assert not [event for event in browser.events if event.get("method") in kinds]


def bounds(line, colour):
    """First and last column of a colour; the middle of a smooth edge is its end."""
    places = np.flatnonzero((np.abs(line.astype(int) - colour) <= 112).all(axis=1))
    assert places.size, line
    return places[0], places[-1]


def test_the_slider_shows_one_image_left_and_the_other_right(opened):
    assert np.array_equal(opened.line()[[10, 140, 200, 310]], [RED, RED, GREEN, GREEN])
    opened.click("input[type=range]", 0.25)
    cut = 320 * float(opened.run("document.querySelector('input').value")) / 100
    assert cut == pytest.approx(80, abs=8)  # the knob has a width
    assert bounds(opened.line(), RED)[1] == pytest.approx(cut, abs=5)
    assert bounds(opened.line(), GREEN)[0] == pytest.approx(cut, abs=5)
    left, top, _, height = opened.box(".view")
    opened.drag((left + cut, top + height / 2), (left + 300, top + height / 2), (left + 160, top + height / 2))
    assert bounds(opened.line(), RED)[1] == pytest.approx(160, abs=5)


def test_both_layers_are_zoomed_and_moved_alike(opened):
    opened.run("document.querySelector('select').selectedIndex = 1")
    opened.run("document.querySelector('select').dispatchEvent(new Event('change'))")

    def bar():
        """(columns left of the middle, columns right of it) that the white bar takes."""
        line = opened.line()
        return 160 - bounds(line, GREEN)[1], bounds(line, BLUE)[0] - 160

    assert bar() == (pytest.approx(8, abs=1.5), pytest.approx(8, abs=1.5))  # 4 pixels, twice upscaled
    for _ in range(2):
        opened.click("[data-zoom=in]")
    assert bar() == (pytest.approx(18, abs=1.5), pytest.approx(18, abs=1.5))  # 2.25 times
    assert opened.run("document.querySelector('output').textContent") == "450 %"
    left, top, *_ = opened.box(".view")
    opened.drag((left + 40, top + 200), (left + 43, top + 200), (left + 50, top + 200))
    assert bar() == (pytest.approx(8, abs=1.5), pytest.approx(28, abs=1.5))  # ten to the right


def test_the_table_is_sorted_by_a_click(opened):
    names = """[...document.querySelectorAll("table tr")].slice(2)
        .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
        .map((row) => row.cells[0].textContent)"""
    assert opened.run(names) == [EVIL, "b", "c", "d", "mean"]
    for column, order in ((1, [EVIL, "c", "b", "d"]), (1, ["b", "c", EVIL, "d"]), (2, ["d", "b", EVIL, "c"])):
        opened.click(f"[data-column='{column}']")
        assert opened.run(names) == [*order, "mean"], "9.5, 28, 100.25 by value, NaN last, infinity above all"

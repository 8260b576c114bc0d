"""report.html: what stands in it, read by another parser, and what it does in a browser that is really there."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, fields
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common import UserError
from common.config import options as config
from common.config.shared import EvalOptions
from common.evaluation import report
from common.evaluation.report import Report, Shown
from common.evaluation.table import Figure, Table, evaluate, psnr_figure
from common.images import files as images
from common.images.pairs import find_pairs
from common.images.resize import imresize
from common.metrics.fidelity import Convention

ON = SimpleNamespace(report=True)
EVIL = "<img src=x onerror=alert(1)>\"'&amp;</script><script>alert(2)</script>$title"
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 30), (30, 30, 200), (255, 255, 255)
PSNR, LPIPS = "PSNR-Y (crop 2)", "LPIPS (AlexNet v0.1)"


def table_of(rows, columns=("bicubic", "SR"), title="Set5 x2"):
    """Two figures, of which the second is a hundredth of the first."""
    figures = [Figure(PSNR, None, 2, columns), Figure(LPIPS, None, 4, columns)]
    values = {name: {PSNR: row, LPIPS: tuple(value / 100 for value in row)} for name, row in rows.items()}
    return Table(title, figures, values, {name: 0.125 + place for place, name in enumerate(rows)})


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def noisy(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(tmp_path, name, seed=1, ways=1):
    """(what is shown, the pixels of its results); 24x36, x2."""
    made = [noisy(10 * seed + way, 24, 36) for way in range(ways)]
    paths = [write_png(tmp_path / "made" / f"{seed}_{way}.png", pixels) for way, pixels in enumerate(made)]
    return Shown(name, noisy(seed, 24, 36), noisy(seed + 500, 12, 18), paths), made


@dataclass
class Page(HTMLParser):
    """What html.parser makes of a page.

    Attributes:
        tags: (name, attributes) of every start tag.
        cells: of each table, the texts of each row.
        texts: by tag, the texts directly in it.
    """

    tags: list = field(default_factory=list)
    cells: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)
    stack: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "input"):
            self.stack.append(tag)
        if tag == "table":
            self.cells.append([])
        elif tag == "tr":
            self.cells[-1].append([])
        elif tag in ("td", "th"):
            self.cells[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag  # whatever is opened is closed

    def handle_data(self, data):
        self.texts.setdefault(self.stack[-1] if self.stack else "", []).append(data)
        if {"td", "th"} & set(self.stack):
            self.cells[-1][-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self):
        """Decoded, by their alternative text."""
        found = {}
        for attributes in self.all("img"):
            head, _, data = attributes["src"].partition(",")
            assert head == "data:image/png;base64"
            found[attributes["alt"]] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
        return found


def read(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert not page.stack
    return page


def test_the_table_and_its_mean(tmp_path):
    rows = {"b10": (9.5, 33.333333), "a": (100.25, 30.0), "c": (28.125, math.inf)}
    Report(tmp_path, "WDSR", "demo.ckpt", 2, ON).add("Set5", table_of(rows))
    page = read(tmp_path / "report.html")
    (table,) = page.cells
    assert table[0] == ["", PSNR, LPIPS, ""]
    assert table[1] == ["picture", "bicubic", "SR", "bicubic", "SR", "seconds"]
    assert table[2] == ["b10", "9.50", "33.33", "0.0950", "0.3333", "0.12"]
    assert [row[0] for row in table[2:]] == ["b10", "a", "c", "mean"]
    assert table[-1][1] == f"{(9.5 + 100.25 + 28.125) / 3:.2f}"
    assert table[-1][2] == "inf"
    assert table[-1][-1] == f"{(0.125 + 1.125 + 2.125) / 3:.2f}"
    tags = [name for name, _ in page.tags]
    assert tags.index("tfoot") > tags.index("tbody")
    assert len(page.all("tfoot")) == 1
    sorted_by = [attributes["data-value"] for attributes in page.all("td") if "data-value" in attributes]
    assert sorted_by[1] == "33.333333"  # all digits
    assert sorted_by[11] == "Infinity"  # as JavaScript spells it


def test_the_head_says_what_was_measured_and_how(tmp_path):
    page_of = Report(tmp_path, "WDSR", "/w/demo.ckpt", 2, ON)
    page_of.add("Set5", table_of({"a": (1.0, 2.0)}, title="Set5 x2, WDSR on this engine"))
    page_of.add("Set14", table_of({"a": (1.0, 2.0)}))
    page = read(tmp_path / "report.html")
    facts = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", facts.pop("Evaluated"))
    assert facts == {"Model": "WDSR", "Checkpoint": "/w/demo.ckpt", "Data": "Set5, Set14", "Scale": "x2"}
    assert page.texts["title"] == page.texts["h1"] == ["WDSR x2 on Set5, Set14"]
    assert page.texts["h2"] == ["Set5", "Set14"]
    assert "Set5 x2, WDSR on this engine" in page.texts["p"]
    said = [line.partition(":")[0] for line in page.texts["li"]]
    assert {"PSNR", "LPIPS", "-Y", "crop N"} < set(said)
    assert not {"SSIM", "-RGB", "LR-PSNR"} & set(said)  # not in these tables


def test_the_pictures_are_there_pixel_for_pixel(tmp_path):
    first, (sr,) = shown(tmp_path, "baby")
    stranger, _ = shown(tmp_path, "left out of the table", 2)
    Report(tmp_path, "WDSR", "demo.ckpt", 2, ON).add("Set5", table_of({"baby": (30.0, 35.129)}), [stranger, first])
    page = read(tmp_path / "report.html")
    found = page.pictures()
    assert list(found) == ["baby, bicubic", "baby, SR", "baby, HR"]
    assert np.array_equal(found["baby, bicubic"], imresize(first.lr, 2))
    assert np.array_equal(found["baby, SR"], sr)
    assert np.array_equal(found["baby, HR"], first.hr)
    assert all((picture["width"], picture["height"]) == ("36", "24") for picture in page.all("img"))
    captions = [attributes["data-caption"] for attributes in page.all("div") if "data-caption" in attributes]
    assert captions == ["bicubic: 30.00", "SR: 35.13", "HR"]
    assert page.texts["option"] == ["bicubic | SR", "SR | HR"]
    places = [(pair["data-left"], pair["data-right"]) for pair in page.all("option")]
    assert places == [("0", "1"), ("1", "2")]
    (slider,) = page.all("input")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "100")
    assert [link["href"] for link in page.all("a")] == [f"#{page.all('section')[1]['id']}"]


def test_several_ways_and_samples(tmp_path):
    columns = "bicubic", "heat 0", "heat 0.9"
    picture, (calm, hot) = shown(tmp_path, "baby", ways=2)
    Report(tmp_path, "SRFlow", "demo.ckpt", 2, ON).add("Set5", table_of({"baby": (1, 2, 3)}, columns), [picture], 5)
    page = read(tmp_path / "report.html")
    found = page.pictures()
    assert np.array_equal(found["baby, heat 0"], calm)
    assert np.array_equal(found["baby, heat 0.9"], hot)
    assert page.texts["option"] == [
        "bicubic | heat 0", "heat 0 | HR", "heat 0 | heat 0.9", "heat 0.9 | HR", "bicubic | heat 0.9",
    ]  # fmt: skip
    assert any("means over 5 samples" in text for text in page.texts["p"])


def test_names_are_text_whatever_they_hold(tmp_path):
    """The same tags with the same attributes as with a plain name, and the very name in every place."""
    pages = []
    for place, name in enumerate(("plain", EVIL)):
        folder = tmp_path / str(place)
        table = table_of({name: (1.0, 2.0)}, ("bicubic", name), title=name)
        Report(folder, name, name, 2, ON).add(name, table, [shown(tmp_path, name)[0]])
        pages.append(read(folder / "report.html"))
    plain, evil = ([(tag, sorted(attributes)) for tag, attributes in page.tags] for page in pages)
    assert plain == evil
    page = pages[1]
    assert [row[0] for row in page.cells[0][2:]] == [EVIL, "mean"]
    assert page.texts["h2"] == [EVIL]
    assert list(page.pictures())[1] == f"{EVIL}, {EVIL}"
    assert len(page.all("script")) == 1
    policy = page.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    addresses = [a[key] for _, a in page.tags for key in ("src", "href", "srcset", "action") if key in a]
    assert all(address.startswith(("data:", "#set")) for address in addresses)
    assert not re.search(r"https?:|@import|url\(", "".join(page.texts["style"] + page.texts["script"]))


def test_what_is_too_much_is_left_out_and_said(tmp_path, monkeypatch, caplog):
    pictures = [shown(tmp_path, name, seed)[0] for seed, name in enumerate("abc", 1)]
    table = table_of(dict.fromkeys("abc", (1.0, 2.0)))
    Report(tmp_path / "all", "WDSR", "demo.ckpt", 2, ON).add("Set5", table, pictures)
    whole = (tmp_path / "all" / "report.html").stat().st_size
    monkeypatch.setattr(report, "PAGE_BYTES", whole * 2 // 3)
    Report(tmp_path / "some", "WDSR", "demo.ckpt", 2, ON).add("Set5", table, pictures)
    page = read(tmp_path / "some" / "report.html")
    names = {alt.partition(",")[0] for alt in page.pictures()}
    assert names == {"a", "b"}
    assert [link["href"][1:] for link in page.all("a")] == [part["id"] for part in page.all("section") if "id" in part]
    assert [row[0] for row in page.cells[0][2:]] == ["a", "b", "c", "mean"]
    assert any(text.startswith("2 of 3 pictures are shown") for text in page.texts["p"])
    assert "2 of 3 pictures are shown" in caplog.text
    monkeypatch.setattr(report, "PAGE_BYTES", 0)
    Report(tmp_path / "none", "WDSR", "demo.ckpt", 2, ON).add("Set5", table, pictures)
    assert any(text.startswith("0 of 3") for text in read(tmp_path / "none" / "report.html").texts["p"])


def test_without_the_option_nothing_is_read_or_written(tmp_path):
    def never():
        raise AssertionError("asked for a picture")
        yield

    Report(tmp_path, "WDSR", "demo.ckpt", 2, EvalOptions()).add("Set5", table_of({"a": (1.0, 2.0)}), never())
    assert not list(tmp_path.iterdir())


def test_mistakes_get_one_sentence(tmp_path):
    lost = shown(tmp_path, "a")[0]
    lost.made[0].unlink()
    with pytest.raises(UserError, match=r"cannot read .*1_0\.png for the report"):
        Report(tmp_path, "WDSR", "demo.ckpt", 2, ON).add("Set5", table_of({"a": (1.0, 2.0)}), [lost])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*report\.html"):
        Report(tmp_path / "file", "WDSR", "demo.ckpt", 2, ON).add("Set5", table_of({"a": (1.0, 2.0)}))


def test_what_evaluate_wrote_is_what_is_shown(tmp_path):
    """WDSR and CSNLN; the HR picture is cut to a multiple of the scale."""
    write_png(tmp_path / "HR" / "a.png", noisy(3, 41, 50))
    pairs, out = find_pairs(tmp_path / "HR", None, 2), tmp_path / "out"

    def upscale(lr):
        return 255 - imresize(lr, 2)

    table = evaluate("Set5 x2", pairs, upscale, [psnr_figure(Convention("rgb", 0))], 2, out / "Set5")
    Report(out, "WDSR", "demo.ckpt", 2, ON).add("Set5", table, report.of_pairs(pairs, 2, out / "Set5"))
    found = read(out / "report.html").pictures()
    hr = noisy(3, 41, 50)[:40]
    assert np.array_equal(found["a, HR"], hr)
    assert np.array_equal(found["a, bicubic"], imresize(imresize(hr, 0.5), 2))
    assert np.array_equal(found["a, SR"], 255 - found["a, bicubic"])


# --- the five models ------------------------------------------------------------------------------------------------


def eval_options():
    from CSNLN.src.config import EvalConfig as CsnlnConfig
    from IRN.src.options.options import EvalConfig as IrnConfig
    from SRDiff.src.model_utils.options import EvalConfig as SrdiffConfig
    from SRFlow.src.model_utils.options import EvalConfig as SrflowConfig
    from WDSR.src.args import EvalConfig as WdsrConfig

    return [WdsrConfig, IrnConfig, SrflowConfig, SrdiffConfig, CsnlnConfig]


def test_all_models_have_the_option_and_explain_it_alike():
    explained = set()
    for cls in eval_options():
        assert not cls().report
        assert config.parse(cls, ["--report"], description="").report
        explained.add(next(field.metadata["help"] for field in fields(cls) if field.name == "report"))
        with pytest.raises(UserError, match="--report shows the SR pictures"):
            config.parse(cls, ["--report", "--save_results", "no"], description="")
    assert len(explained) == 1


def test_irn_shows_what_it_restored(tmp_path):
    from IRN.src.options.options import EvalConfig
    from IRN.src.utils import measuring

    write_png(tmp_path / "HR" / "a.png", noisy(4, 24, 36))
    pairs, options = find_pairs(tmp_path / "HR", None, 2), EvalConfig(suffix="_x")
    (found,) = measuring.shown(pairs, 2, options, tmp_path / "Set5")
    assert found.made == [tmp_path / "Set5" / "SR" / "a_x.png"]
    assert np.array_equal(found.hr, noisy(4, 24, 36))
    difference = np.abs(found.lr.astype(int) - imresize(found.hr, 0.5))
    assert difference.max() <= 1  # rounded once, not in each of two passes


def test_srflow_shows_the_first_sample_of_each_heat(tmp_path):
    from common.data import Picture
    from SRFlow.src.model_utils import measuring
    from SRFlow.src.model_utils.options import EvalConfig

    options = EvalConfig(heats=(0.0, 0.5), samples=2)
    picture = Picture("a", noisy(1, 48, 48), noisy(2, 12, 12))
    samples = {0.0: [noisy(3, 48, 48)], 0.5: [noisy(4, 48, 48), noisy(5, 48, 48)]}
    figure = Figure(PSNR, None, 2, ("bicubic", "heat 0", "heat 0.5"))
    measuring.write_results(tmp_path, picture, samples, figure, (1.0, 2.0, 3.0))
    (found,) = measuring.shown(iter([picture]), options, tmp_path)
    shown_pixels = [images.read_rgb(path) for path in found.made]
    assert np.array_equal(shown_pixels, [noisy(3, 48, 48), noisy(4, 48, 48)])


@pytest.mark.parametrize("count", [1, 3])
def test_srdiff_shows_the_first_sample_that_was_not_lost(tmp_path, count):
    from common.data import Picture
    from SRDiff.src.model.sampling import Way
    from SRDiff.src.model_utils import measuring

    ways = [Way("ddpm", 10), Way("ddim", 5)]
    pictures = [Picture(name, noisy(1, 48, 48), noisy(2, 12, 12)) for name in ("a", "b")]
    made = {way: {n: noisy(100 * place + n, 48, 48) for n in range(1, count + 1)} for place, way in enumerate(ways)}
    results = measuring.Results(table_of({"a": (1.0, 2.0, 3.0)}))
    if count > 1:
        del made[ways[1]][1]
        results.lost.append("a, ddim 5, sample 1: values that are no numbers")
    measuring.write_samples(tmp_path, "a", made, count > 1)
    (found,) = measuring.shown(iter(pictures), results, ways, count, tmp_path)  # b has no row
    first = 2 if count > 1 else 1
    shown_pixels = [images.read_rgb(path) for path in found.made]
    assert np.array_equal(shown_pixels, [noisy(1, 48, 48), noisy(100 + first, 48, 48)])


# --- in a browser ---------------------------------------------------------------------------------------------------

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--force-device-scale-factor=1", "--remote-debugging-pipe",
)  # fmt: skip
CTRL = 2


class Browser:
    """A headless Chromium, spoken to over its two pipes (DevTools protocol: JSON, ended by a zero byte)."""

    def __init__(self, profile):
        reads, self.speak = os.pipe()
        self.listen, writes = os.pipe()
        command = ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", PROGRAM, *FLAGS]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            command, pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(reads)
        os.close(writes)
        self.number, self.unread, self.events, self.session = 0, b"", [], {}
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        answer = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = {"sessionId": answer["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
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

    def open(self, path, width=800, height=900):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
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

    def mouse(self, kind, x, y, **more):
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector, across=0.5):
        left, top, width, height = self.box(selector)
        self.drag((left + across * width, top + height / 2))

    def drag(self, *points):
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.mouse("mousePressed", *points[0], **held)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, **held)
        self.mouse("mouseReleased", *points[-1], **{**held, "buttons": 0})

    def press(self, key, code=0):
        text = {"text": key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def look(self, selector):
        """(height, width, 3): a screenshot of an element."""
        left, top, width, height = self.box(selector)
        clip = {"x": left, "y": top + self.run("scrollY"), "width": width, "height": height, "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", clip=clip)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def close(self):
        os.close(self.speak)  # Chromium ends when nobody speaks
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.listen)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("needs Chromium: apt-get install -y chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A page with one picture of 160x120: bicubic red, SR green, HR blue, the last two with a white bar of 8 pixels."""
    sr, hr = (np.full((120, 160, 3), colour, np.uint8) for colour in (GREEN, BLUE))
    sr[:, 76:84] = hr[:, 76:84] = WHITE
    picture = Shown(EVIL, hr, np.full((60, 80, 3), RED, np.uint8), [write_png(tmp_path / "sr.png", sr)])
    rows = {EVIL: (9.5, 33.3), "b": (100.25, 30.0), "c": (28.0, math.inf), "d": (math.nan, 5.0)}
    Report(tmp_path, "WDSR", EVIL, 2, ON).add("Set5", table_of(rows), [picture])
    browser.open(tmp_path / "report.html")
    yield browser
    kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}
    assert not [event for event in browser.events if event.get("method") in kinds]
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert all(address.startswith(("file:///", "data:")) for address in asked)


def line_of(browser):
    """Pixels of the picture from left to right, below the handle and the captions."""
    view = browser.look(".view")
    assert view.shape == (240, 320, 3)  # twice the picture
    return view[200]


def bounds(line, colour):
    """First and last column of a colour; the middle of a smooth edge is its end."""
    places = np.flatnonzero((np.abs(line.astype(int) - colour) <= 112).all(axis=1))
    assert places.size, line
    return places[0], places[-1]


def test_the_slider_shows_one_picture_left_and_the_other_right(opened):
    before = line_of(opened)
    assert np.array_equal(before[[10, 140]], [RED, RED])
    assert np.array_equal(before[[200, 310]], [GREEN, GREEN])
    opened.click("input[type=range]", 0.25)
    after = line_of(opened)
    cut = 320 * float(opened.run("document.querySelector('input').value")) / 100
    assert cut == pytest.approx(80, abs=8)  # the knob has a width
    assert bounds(after, RED)[1] == pytest.approx(cut, abs=5)
    assert bounds(after, GREEN)[0] == pytest.approx(cut, abs=5)
    changed = np.flatnonzero((before != after).any(axis=1))
    assert cut - 5 <= changed[0]
    assert changed[-1] <= 320 / 2 + 5  # beyond the old place of the divider nothing has changed
    for _ in range(2):
        opened.press("PageUp", 33)  # the keyboard, on the slider that was clicked
    assert bounds(line_of(opened), RED)[1] > cut + 20
    opened.press("End", 35)
    assert np.array_equal(line_of(opened)[[10, 80, 240, 300]], [RED] * 4)
    opened.box(".handle")  # scrolling to it moves the page, and not the pictures in their frame
    left, top, width, height = opened.box(".view")  # the left half of the handle is in it
    middle = top + height / 2
    assert opened.run("document.querySelector('.view').scrollLeft") == 0
    opened.drag((left + width - 9, middle), (left + 300, middle), (left + 160, middle))
    assert bounds(line_of(opened), RED)[1] == pytest.approx(160, abs=5)


def test_the_pair_is_chosen(opened):
    opened.box(".view")
    opened.run("document.querySelector('select').focus()")
    opened.press("ArrowDown", 40)
    line = line_of(opened)
    assert np.array_equal(line[[10, 140]], [GREEN, GREEN])
    assert np.array_equal(line[[200, 310]], [BLUE, BLUE])
    captions = "[...document.querySelectorAll('.caption')].map((caption) => caption.textContent)"
    assert opened.run(captions) == ["SR: 33.30", "HR"]


def test_both_layers_are_enlarged_and_moved_alike(opened):
    opened.run("document.querySelector('select').selectedIndex = 1")
    opened.run("document.querySelector('select').dispatchEvent(new Event('change'))")

    def bar():
        """(columns left of the middle, columns right of it) that the white bar takes."""
        line = line_of(opened)
        return 160 - bounds(line, GREEN)[1], bounds(line, BLUE)[0] - 160

    assert bar() == (pytest.approx(8, abs=1.5), pytest.approx(8, abs=1.5))  # 4 pixels, twice enlarged
    for _ in range(2):
        opened.click("[data-zoom=in]")
    assert bar() == (pytest.approx(18, abs=1.5), pytest.approx(18, abs=1.5))  # 2.25 times
    assert opened.run("document.querySelector('output').textContent") == "450 %"
    assert opened.run("getComputedStyle(document.images[0]).imageRendering") == "pixelated"
    assert len(opened.run("[...new Set([...document.images].map((i) => getComputedStyle(i).transform))]")) == 1

    left, top, width, height = opened.box(".view")
    start = (left + 40, top + 200)
    opened.drag(start, (start[0] + 3, start[1]), (start[0] + 10, start[1]))
    opened.mouse("mouseMoved", left + 90, top + 200)  # let go: nothing moves
    assert bar() == (pytest.approx(8, abs=1.5), pytest.approx(28, abs=1.5))  # ten to the right
    opened.press("ArrowLeft")  # the view has the focus since it was pressed; 40 more: 210 is the middle, 18 each way
    assert np.array_equal(line_of(opened)[[188, 195, 225, 232]], [BLUE, WHITE, WHITE, BLUE])
    opened.press("0")
    assert bar() == (pytest.approx(8, abs=1.5), pytest.approx(8, abs=1.5))
    assert opened.run("getComputedStyle(document.images[0]).imageRendering") == "auto"

    opened.run("document.activeElement.blur()")
    left, top, width, height = opened.box(".view")
    wheel = {"x": left + width / 2, "y": top + height / 2, "deltaX": 0, "deltaY": -400}
    opened.mouse("mouseWheel", **wheel, modifiers=CTRL)
    assert bar() == (pytest.approx(8 * math.exp(0.8), abs=2), pytest.approx(8 * math.exp(0.8), abs=2))
    said = opened.run("document.querySelector('output').textContent")
    opened.mouse("mouseWheel", **wheel)  # without Ctrl the page scrolls
    assert opened.run("document.querySelector('output').textContent") == said


def test_the_table_is_sorted_by_a_click(opened):
    names = """[...document.querySelectorAll("table tr")].slice(2)
        .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
        .map((row) => row.cells[0].textContent)"""
    said = "[...document.querySelectorAll('th[aria-sort]')].map((head) => head.getAttribute('aria-sort'))"
    assert opened.run(names) == [EVIL, "b", "c", "d", "mean"]
    assert opened.run(said) == []
    opened.click("[data-column='1']")
    assert opened.run(names) == [EVIL, "c", "b", "d", "mean"]  # 9.5, 28, 100.25 are not in the order of letters
    assert opened.run(said) == ["ascending"]
    opened.click("[data-column='1']")
    assert opened.run(names) == ["b", "c", EVIL, "d", "mean"]  # what is no number stays behind
    assert opened.run(said) == ["descending"]
    opened.click("[data-column='2']")
    assert opened.run(names) == ["d", "b", EVIL, "c", "mean"]  # infinite is most
    opened.click("[data-column='0']")
    assert opened.run(names) == [EVIL, "b", "c", "d", "mean"]


def test_dark_and_narrow(opened):
    def brightness():
        return opened.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")

    for scheme, dark in (("light", False), ("dark", True)):
        opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert (max(brightness()) < 60) == dark
        assert (min(brightness()) > 200) != dark
    opened.send("Emulation.setDeviceMetricsOverride", width=320, height=600, deviceScaleFactor=2, mobile=True)
    assert opened.run("document.documentElement.scrollWidth") == 320  # only the table scrolls sideways

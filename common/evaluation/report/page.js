"use strict";

const MOST = 32; // pixels of the screen for one of an image
const SQUARES = 3; // from here on a pixel is drawn as a square
const STEP = 1.5; // of a button or key
const LEAST = 300; // CSS pixels of an image's width, for the captions
const FAR = 40; // CSS pixels that an arrow key moves an image

// Rows in the order of a column; the second click turns it round. The mean is not in the body and stays below.
function makeSortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.querySelectorAll("th:has(button)")];
  for (const head of heads) {
    const column = Number(head.firstElementChild.dataset.column);
    const value = (row) => Number(row.cells[column].dataset.value);
    head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numbers = (rows, sign) => rows.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
      const [known, unknown] = [[], []];
      for (const row of body.rows) (Number.isNaN(value(row)) ? unknown : known).push(row);
      body.append(...numbers(known, down ? -1 : 1), ...unknown);
    });
  }
}

// The layers of one image: two of them shown on the sides of the divider, all zoomed and moved by the same numbers.
function makeViewer(viewer) {
  const view = viewer.querySelector(".view");
  const panes = [...view.querySelectorAll(".pane")];
  const slider = viewer.querySelector("input");
  const pairs = viewer.querySelector("select");
  const output = viewer.querySelector("output");
  const width = Number(view.dataset.width);
  const height = Number(view.dataset.height);
  const place = { x: 0, y: 0, k: 0, whole: true }; // k: CSS pixels for one of the image; x, y: of its corner

  function choosePair() {
    const { left, right } = pairs.selectedOptions[0].dataset;
    panes.forEach((pane, number) => {
      pane.classList.toggle("left", number === Number(left));
      pane.classList.toggle("right", number === Number(right));
    });
    view.querySelector("[data-side=left]").textContent = panes[left].dataset.caption;
    view.querySelector("[data-side=right]").textContent = panes[right].dataset.caption;
    viewer.querySelector(".slide span").textContent = `Divider: ${pairs.value}`;
  }

  function cut(percent) {
    slider.value = percent;
    view.style.setProperty("--cut", `${slider.value}%`);
  }

  const inside = (start, room, size) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, start)));

  function show(k, x, y) {
    const least = Math.min(view.clientWidth / width, view.clientHeight / height);
    place.k = Math.min(Math.max(k, least), Math.max(least, MOST / devicePixelRatio));
    place.x = inside(x, view.clientWidth, width * place.k);
    place.y = inside(y, view.clientHeight, height * place.k);
    place.whole = place.k === least;
    view.style.setProperty("--k", place.k);
    view.style.setProperty("--x", `${place.x}px`);
    view.style.setProperty("--y", `${place.y}px`);
    view.classList.toggle("squares", place.k * devicePixelRatio >= SQUARES);
    view.classList.toggle("zoomed", !place.whole);
    output.textContent = `${Math.round(100 * place.k * devicePixelRatio)} %`;
  }

  // The point (x, y) of the view, its middle by default, stays where it is.
  function zoom(k, x = view.clientWidth / 2, y = view.clientHeight / 2) {
    const most = Math.min(k, MOST / devicePixelRatio);
    show(most, x - ((x - place.x) * most) / place.k, y - ((y - place.y) * most) / place.k);
  }

  const move = (x, y) => show(place.k, place.x + x, place.y + y);
  const buttons = {
    in: () => zoom(place.k * STEP),
    out: () => zoom(place.k / STEP),
    one: () => zoom(1 / devicePixelRatio),
    whole: () => show(0, 0, 0),
  };
  const keys = {
    "+": buttons.in, "=": buttons.in, "-": buttons.out, 0: buttons.whole, 1: buttons.one,
    ArrowLeft: () => move(FAR, 0), ArrowRight: () => move(-FAR, 0), ArrowUp: () => move(0, FAR), ArrowDown: () => move(0, -FAR),
  };

  slider.addEventListener("input", () => cut(slider.value));
  pairs.addEventListener("change", choosePair);
  for (const button of viewer.querySelectorAll("[data-zoom]")) button.addEventListener("click", buttons[button.dataset.zoom]);
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (place.whole && event.key.startsWith("Arrow")) return; // the page scrolls
    event.preventDefault();
    keys[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== view) return; // the page scrolls
    event.preventDefault();
    const box = view.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    zoom(place.k * Math.exp(-0.002 * lines * event.deltaY), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  // One finger moves, two zoom; one on the handle moves the divider.
  const fingers = new Map();
  let onHandle = false;
  const span = ([a, b]) => Math.hypot(a.x - b.x, a.y - b.y);
  const middle = (points) => ["x", "y"].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    onHandle = event.target.classList.contains("handle");
    view.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  view.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const box = view.getBoundingClientRect();
    const before = [...fingers.values()];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (onHandle) {
      cut((100 * (event.clientX - box.left)) / box.width);
      return;
    }
    const after = [...fingers.values()];
    const [from, to] = [middle(before), middle(after)];
    move(to[0] - from[0], to[1] - from[1]);
    if (after.length === 2) zoom((place.k * span(after)) / Math.max(1, span(before)), to[0] - box.left, to[1] - box.top);
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => fingers.delete(event.pointerId));

  // As large as the page allows, twice the image at most (but for the smallest), four fifths of the window high.
  view.style.width = viewer.querySelector(".slide").style.width = `min(100%, ${Math.max(2 * width, LEAST)}px, ${(80 * width) / height}vh)`;
  view.style.aspectRatio = `${width} / ${height}`;
  choosePair();
  cut(50);
  new ResizeObserver(() => show(place.whole ? 0 : place.k, place.x, place.y)).observe(view);
}

document.querySelectorAll("table").forEach(makeSortable);
document.querySelectorAll(".viewer").forEach(makeViewer);

"""Tables and viewers as HTML. Every name, path and heading that comes from outside goes through `text`."""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from common.evaluation.table import Table

HERE = Path(__file__).parent


def text(value: str) -> str:
    """What HTML shows as `value`, between tags and in attributes."""
    return html.escape(value, quote=True)


def frame(title: str, facts: Mapping[str, str], conventions: Sequence[str]) -> tuple[str, str]:
    """The page before and behind its sections. Its policy lets `page.js` run, known by its digest, and nothing else."""
    script = _file("page.js")
    parts = {
        "title": text(title),
        "facts": "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in facts.items()),
        "conventions": "".join(f"<li>{text(line)}</li>" for line in conventions),
        "style": _file("page.css"),
        "script": script,
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    before, after = (Template(part).substitute(parts) for part in _file("page.html").split("$sections"))
    return before, after


def section(name: str, table: Table, notes: Sequence[str], number: int, viewers: Mapping[str, str]) -> str:
    """A set: its table, with links to the images that have a viewer, what is to be said of it, and the viewers.

    Args:
        number: of the set, as given to `viewer`.
        viewers: by the images' names.
    """
    said = "".join(f"<p>{text(note)}</p>" for note in notes)
    links = {name: _anchor(number, place) for place, name in enumerate(table.rows) if name in viewers}
    return (
        f'<section class="set"><h2>{text(name)}</h2><p class="ran">{text(table.title)}</p>'
        f"{_table(table, links)}{said}{''.join(viewers.values())}</section>"
    )


def viewer(number: int, table: Table, name: str, size: tuple[int, int], pictures: Sequence[bytes]) -> str:
    """The layers of one image, the choice of two of them, the divider and the zoom.

    Args:
        number: of the set.
        size: (height, width) of all layers.
        pictures: PNG files: a layer for each column of the table's first figure, and HR.
    """
    figure = table.figures[0]
    values = [f": {value:.{figure.digits}f}" for value in table.rows[name][figure.name]]
    labels, last = [*figure.columns, "HR"], len(pictures) - 1
    layers = [
        f'<div class="pane" data-caption="{text(label + value)}"><img alt="{text(f"{name}, {label}")}" '
        f'width="{size[1]}" height="{size[0]}" decoding="async" src="data:image/png;base64,{_base64(picture)}"></div>'
        for label, value, picture in zip(labels, [*values, ""], pictures, strict=True)
    ]
    pairs = [pair for way in range(1, last) for pair in ((way - 1, way), (way, last), (0, way))]
    options = [
        f'<option data-left="{left}" data-right="{right}">{text(f"{labels[left]} | {labels[right]}")}</option>'
        for left, right in dict.fromkeys(pairs)
    ]
    return Template(_file("viewer.html")).substitute(
        anchor=_anchor(number, list(table.rows).index(name)),
        name=text(name),
        about=text(f"{size[1]} x {size[0]} pixels; the values are {figure.name}"),
        height=size[0],
        width=size[1],
        layers="".join(layers),
        options="".join(options),
    )


def _table(table: Table, links: Mapping[str, str]) -> str:
    """Figures above their columns, then the images, and the mean, which is not sorted."""
    heads, *rows, mean = table.lines()
    columns = [column for figure in table.figures for column in figure.columns]
    columns = [heads[0], *columns, *heads[1 + len(columns) :]]
    figures = "".join(
        f'<th scope="colgroup" colspan="{len(figure.columns)}">{text(figure.name)}</th>' for figure in table.figures
    )
    buttons = "".join(
        f'<th scope="col"><button type="button" data-column="{place}">{text(column)}</button></th>'
        for place, column in enumerate(columns)
    )
    body = "".join(_row(table, place, cells, links) for place, cells in enumerate(rows))
    last = "".join(f"<td>{cell}</td>" for cell in mean[1:])
    room = "<td></td>" if table.seconds else ""
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'
        f"<thead><tr><td></td>{figures}{room}</tr><tr>{buttons}</tr></thead><tbody>{body}</tbody>"
        f'<tfoot><tr><th scope="row">mean</th>{last}</tr></tfoot></table></div>'
    )


def _row(table: Table, place: int, cells: Sequence[str], links: Mapping[str, str]) -> str:
    """One image: what is read, and besides it what is sorted by, with all digits."""
    name = cells[0]
    values = [value for figure in table.figures for value in table.rows[name][figure.name]]
    values += [table.seconds[name]] if table.seconds else []
    shown = f'<a href="#{links[name]}">{text(name)}</a>' if name in links else text(name)
    numbers = [f'<td data-value="{_number(value)}">{cell}</td>' for cell, value in zip(cells[1:], values, strict=True)]
    return f'<tr><th scope="row" data-value="{place}">{shown}</th>{"".join(numbers)}</tr>'


def _number(value: float) -> str:
    """As JavaScript reads it."""
    return repr(float(value)).replace("inf", "Infinity")


def _anchor(number: int, place: int) -> str:
    """Where an image stands in the page: numbers, since names may hold anything."""
    return f"set{number}-picture{place}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")

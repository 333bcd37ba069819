"""A page of HTML from elements, which escape what users have named."""

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; max-width: 1120px; margin: 2rem auto;
  padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin: 2rem 0 .5rem } p { max-width: 46rem }
table { border-collapse: collapse }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #e5e7eb; text-align: right }
th:first-child, td:first-child { text-align: left } th { color: #6b7280; font-weight: 600 }
tr.all td { font-weight: 600; border-top: 2px solid #9ca3af }
.facts td { text-align: left } .facts td:first-child { color: #6b7280; white-space: nowrap }
.facts td + td { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem }
svg { width: 100%; border: 1px solid #e5e7eb; border-radius: 6px }
polyline { fill: none; stroke-width: 2; stroke-linecap: round } svg line { stroke: #e5e7eb }
table + table, p + table { margin-top: 1rem }
.strips { display: grid; gap: 1rem; max-width: 860px } polyline.score { stroke: #374151; stroke-width: 1 }
svg line.threshold { stroke: #dc2626; stroke-dasharray: 4 3 }
.annotated { fill: #059669 } .detected, .bar { fill: #2563eb }
circle { fill: #111827 } .tick { font-size: 10px; fill: #6b7280 }
.head { font-size: 12px; font-weight: 600; fill: #111827 } .name { font-size: 11px }
"""


class Page:
    """A page that is filled from top to bottom."""

    def __init__(self, title: str) -> None:
        self._html = Element("html", lang="en")
        head = SubElement(self._html, "head")
        SubElement(head, "meta", charset="utf-8")
        SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
        SubElement(head, "title").text = title
        SubElement(head, "style").text = STYLE
        self._body = SubElement(self._html, "body")
        self._add("h1", title)

    def heading(self, text: str) -> None:
        self._add("h2", text)

    def subheading(self, text: str) -> None:
        self._add("h3", text)

    def paragraph(self, text: str) -> None:
        self._add("p", text)

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """A table of names and values."""
        table = SubElement(self._body, "table", {"class": "facts"})
        for row in rows:
            line = SubElement(table, "tr")
            for cell in row:
                SubElement(line, "td").text = cell

    def table(
        self, header: Sequence[str], rows: Iterable[Sequence[str]], last: Sequence[str] | None = None
    ) -> None:
        """A table, perhaps with a last row that is about all."""
        table = SubElement(self._body, "table")
        line = SubElement(SubElement(table, "thead"), "tr")
        for cell in header:
            SubElement(line, "th").text = cell
        body = SubElement(table, "tbody")
        for row in rows:
            _fill(SubElement(body, "tr"), row)
        if last is not None:
            _fill(SubElement(body, "tr", {"class": "all"}), last)

    def charts(self, charts: Iterable[Element]) -> None:
        SubElement(self._body, "div", {"class": "charts"}).extend(charts)

    def strips(self, strips: Iterable[Element]) -> None:
        SubElement(self._body, "div", {"class": "strips"}).extend(strips)

    def html(self) -> str:
        """The whole page."""
        return "<!DOCTYPE html>\n" + tostring(self._html, encoding="unicode", method="html") + "\n"

    def _add(self, tag: str, text: str) -> None:
        SubElement(self._body, tag).text = text


def _fill(line: Element, cells: Sequence[str]) -> None:
    for cell in cells:
        SubElement(line, "td").text = cell

"""What the guide takes from the code while it is built: the graph of packages, the commands, settings, examples.

MkDocs calls `on_page_markdown` for every page; `<!-- packages -->` and its like become what they name.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[1]
ROWS = (
    (("flows",),),
    (("pipeline.care", "pipeline.review", "pipeline.studies", "pipeline.synthetic"),),
    (("pipeline.drops", "pipeline.clocks", "pipeline.boxed"), ("pipeline",), ("pipeline.runs", "pipeline.scores")),
    (
        ("ingest", "ingest.formats", "ingest.sorters", "ingest.quality"),
        ("models", "models.modules", "models.readouts", "models.objectives", "models.teachers"),
    ),
)
_FIELD = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*):( .*)$")
BOX, GAP, ROW = (106, 30), 10, 130  # sizes in the picture
WIDTH = 9 * (BOX[0] + GAP) + 60


@dataclass(frozen=True)
class Imports:
    """modules: package -> how many it has. inside: (importer, imported) -> how many. outside: package -> libraries."""

    modules: dict[str, int]
    inside: Counter[tuple[str, str]]
    outside: dict[str, set[str]]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs' hook."""
    for name, made in (("packages", packages_page), ("commands", commands_page), ("settings", settings_page)):
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, made())
    return re.sub(r"^<!-- example: (\w+) -->$", _example, markdown, flags=re.M)


def _example(found: re.Match[str]) -> str:
    """An example in `docs/examples` as a fenced block."""
    return f"```python\n{(ROOT / 'docs' / 'examples' / f'{found[1]}.py').read_text(encoding='utf-8')}```"


class Fields(griffe.Extension):
    """Lines such as `rate_hz: how often` of a docstring become a list, as they are meant."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe's hook."""
        if obj.docstring is not None:
            obj.docstring.value = _listing_fields(obj.docstring.value)


def _listing_fields(text: str) -> str:
    lines, before = [], ""
    for line in text.splitlines():
        field = _FIELD.match(line)
        if field and before and not before.startswith("- "):
            lines.append("")  # a list begins after an empty line
        lines.append(f"- `{field[1]}`:{field[2]}" if field else line)
        before = lines[-1]
    return "\n".join(lines)


def packages_page() -> str:
    """The picture and the table."""
    found = imports()
    rows = [
        f"| `{name}` | {found.modules[name]} | {_listed(t for f, t in found.inside if f == name)} "
        f"| {', '.join(sorted(found.outside[name])) or 'none'} |"
        for name in placed()
    ]
    head = "| package | modules | imports of ours | libraries |\n|---|---|---|---|\n"
    return svg(found) + "\n\n" + head + "\n".join(rows) + "\n"


def imports() -> Imports:
    """Who imports whom, read from the sources, imports within functions included."""
    import grimp

    if str(ROOT / ".dev") not in sys.path:
        sys.path.insert(0, str(ROOT / ".dev"))
    graph = grimp.build_graph("neuroloom", include_external_packages=True, cache_dir=None)
    modules: Counter[str] = Counter()
    inside: Counter[tuple[str, str]] = Counter()
    outside: dict[str, set[str]] = {name: set() for name in placed()}
    ours = [module for module in graph.modules if module.startswith("neuroloom.")]
    ours.remove("neuroloom.__main__")  # the same file as `flows/__main__.py`
    for module in ours:
        home = package_of(module)
        modules[home] += 1
        for imported in graph.find_modules_directly_imported_by(module):
            if not imported.startswith("neuroloom"):
                outside[home].add(imported.lstrip("_"))
            elif "." in imported and package_of(imported) != home:
                inside[home, package_of(imported)] += 1
    standard = set(sys.stdlib_module_names) | {name.lstrip("_") for name in sys.stdlib_module_names}
    return Imports(dict(modules), inside, {name: libraries - standard for name, libraries in outside.items()})


def placed() -> dict[str, tuple[float, float]]:
    """Package -> middle of its box."""
    places = {}
    for row, groups in enumerate(ROWS):
        n_boxes = sum(len(group) for group in groups)
        x = (WIDTH - n_boxes * (BOX[0] + GAP) - 40 * (len(groups) - 1)) / 2 + (BOX[0] + GAP) / 2
        for group in groups:
            for name in group:
                places[name] = (x, 30 + row * ROW)
                x += BOX[0] + GAP
            x += 40
    return places


def package_of(module: str) -> str:
    """The package in the picture that a module belongs to."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if ".".join(parts[:2]) in placed() else parts[0]


def svg(found: Imports) -> str:
    """Boxes and arrows in the theme's own colours: within a row arrows bend below it."""
    places, height = placed(), 30 + (len(ROWS) - 1) * ROW + 90
    lines = [_arrow(places[a], places[b], n) for (a, b), n in sorted(found.inside.items())]
    boxes = [_box(name, at, found.modules[name]) for name, at in places.items()]
    arrow = '<marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    arrow += '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker>'
    words = f"Packages and who imports whom: {'; '.join(f'{a} imports {b}' for a, b in sorted(found.inside))}."
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(words)}" style="width:100%">'
        f"<defs>{arrow}</defs>{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _arrow(start: tuple[float, float], stop: tuple[float, float], n: int) -> str:
    (x1, y1), (x2, y2) = start, stop
    half = BOX[1] / 2
    if y1 == y2:
        y1, y2, bend = y1 + half, y2 + half, y1 + half + 18 + 0.13 * abs(x1 - x2)
        path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}"
    else:
        y1, y2 = y1 + half, y2 - half
        path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {(y1 + y2) / 2:.0f} {x2:.0f} {(y1 + y2) / 2:.0f} {x2:.0f} {y2:.0f}"
    wide = 0.8 + min(n, 100) / 40
    line = f'fill="none" stroke="currentColor" opacity=".35" stroke-width="{wide:.1f}"'
    return f'<path d="{path}" {line} marker-end="url(#to)"/>'


def _box(name: str, at: tuple[float, float], n_modules: int) -> str:
    x, y = at[0] - BOX[0] / 2, at[1] - BOX[1] / 2
    fill = 'fill="var(--md-primary-fg-color,#4051b5)"'
    short = name.rpartition(".")[2]
    return (
        f'<g><rect x="{x:.0f}" y="{y:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="5" {fill}/>'
        f'<text x="{at[0]:.0f}" y="{at[1] + 4:.0f}" text-anchor="middle" font-size="13" fill="#fff">{short}</text>'
        f"<title>{name}: {n_modules} modules</title></g>"
    )


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def commands_page() -> str:
    """Every command with its arguments, options and help, as the command line itself has them."""
    import typer

    from neuroloom.flows.cli import app

    group: Any = typer.main.get_command(app)
    return "\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    rows = [f"## neuroloom {name}\n", f"{escape(' '.join((command.help or '').split()))}\n"]
    said = [
        (param, getattr(param, "help", None) or "") for param in command.params if not getattr(param, "hidden", False)
    ]
    rows += ["| | |", "|---|---|"] if said else []
    for param, words in said:
        spelled = ", ".join(f"`{one}`" for one in (*param.opts, *param.secondary_opts) if one.startswith("-"))
        rows.append(f"| {spelled or f'`{param.name.upper()}`'} | {escape(' '.join(words.split()))} |")
    return "\n".join(rows) + "\n"


def settings_page() -> str:
    """The example at the head of `pipeline/settings.py`."""
    from neuroloom.pipeline import settings

    _, bracket, example = (settings.__doc__ or "").partition("[")
    return f"```toml\n{bracket}{example.rstrip()}\n```"

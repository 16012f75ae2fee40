"""Writes the tables of initializers and schemes from the code that they list.

    python docs/scripts/tables.py

What a name is, how it is called and where it comes from is read off the code and its
docstring; what it is good for is in `uses.toml`. A test holds the pages equal to this.
"""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from formulas import unicode

from jaxinit import initializers, schemes, transfer

DOCS = Path(__file__).parents[1]
USES = tomllib.loads((Path(__file__).parent / "uses.toml").read_text())
HEAD = "| name | what it is | use it for | source |\n|---|---|---|---|\n"

FAMILIES = {
    "data": "From data, or from moments in place of data",
    "residual": "Residual networks",
    "transformer": "Transformers",
    "width": "Width and depth",
    "learned": "Learned",
    "pretrain": "Pre-trained",
    "presets": "Other code bases",
    "rules": "Rules of your own",
    "scheme": "Rules of your own",
}


def initializers_page() -> str:
    """The table of all initializers, in the order of the room's contents page."""
    text = (
        "# All initializers\n\n"
        "Every name is in `jaxinit` and in `jaxinit.initializers`. All but `zeros` and "
        "`ones` are\nfactories: `he_normal()` is the initializer, called as "
        "`(key, shape, dtype)`. It goes wherever\nFlax takes a `kernel_init`, "
        "`bias_init` or `embedding_init`. Where `jax.nn.initializers` has the\nname, "
        "the law is the same. Values are drawn and scaled in float32 and cast last.\n"
        "[How to choose](../guides/choose-an-initializer.md) goes by activation, layer "
        "and architecture.\n"
    )
    for title, names in _groups(initializers):
        rows = "".join(_row(getattr(initializers, n), n, "initializers") for n in names)
        if rows:
            text += f"\n## {title}\n\n{HEAD}{rows}"
    return text


def schemes_page() -> str:
    """The table of all schemes and of what brings weights from elsewhere, by family."""
    text = (
        "# All schemes\n\n"
        "A scheme initializes a whole model: `jaxinit.initialize(model, scheme, key, "
        "x)`,\n`analyze(..., scheme=)`, `compare(..., schemes=)`. Any initializer is a "
        "scheme too: it draws\nevery weight with its real fans. [Whole-network "
        "schemes](../guides/whole-network-schemes.md)\nsays which to choose.\n"
    )
    families: dict[str, list[str]] = {title: [] for title in FAMILIES.values()}
    families["Functions of a model"] = []
    for name in schemes.__all__:
        family = _family(getattr(schemes, name))
        families.setdefault(FAMILIES.get(family, "Functions of a model"), []).append(
            name
        )
    for title, names in families.items():
        text += _section(schemes, title, names)
    return text + _section(transfer, "Weights from elsewhere", transfer.__all__)


def _section(room: ModuleType, title: str, names: list[str]) -> str:
    rows = "".join(_row(getattr(room, name), name, "schemes") for name in names)
    return f"\n## {title}\n\n{HEAD}{rows}" if rows else ""


def _groups(room: ModuleType) -> Iterator[tuple[str, list[str]]]:
    """The headings of a contents page, with the names under each."""
    source = Path(str(room.__file__)).with_suffix(".pyi").read_text()
    for part in re.split(r"^# (?=[A-Z])", source, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        yield title, re.findall(r" as (\w+)", body.partition("__all__")[0])


def _family(value: Any) -> str:
    parts = getattr(value, "__module__", "").split(".")
    return parts[2] if len(parts) > 2 else ""


def _row(value: Any, name: str, kind: str) -> str:
    """One line of the table; nothing for types, which are no initializers."""
    if isinstance(value, type) or not callable(value):
        return ""
    doc = inspect.getdoc(value) or ""
    what = _plain(doc.partition("\n\n")[0].replace("\n", " "))
    cells = (f"`{_call(value, name)}`", what, USES[kind].get(name, ""), _source(doc))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _call(value: Any, name: str) -> str:
    """The call with its required and its first optional arguments, or the name."""
    if name in ("zeros", "ones"):
        return name
    shown = []
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            shown.append(f"*{parameter.name}")
        elif parameter.default is parameter.empty and not parameter.name.startswith(
            "kw"
        ):
            shown.append(parameter.name)
        elif len(shown) < 3 and parameter.name not in ("dtype", "in_axis", "out_axis"):
            shown.append(f"{parameter.name}=")
    return f"{name}({', '.join(shown[:4])})"


def _plain(text: str) -> str:
    """Docstring markup as Markdown, formulas as Unicode."""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    text = re.sub(r":math:`([^`]+)`", lambda m: unicode(m[1]), text)
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)


NAME = r"[A-Z][\w'-]+"
REFERENCE = re.compile(
    rf"({NAME}(?:(?:, and |, | and ){NAME})*(?: et al\.)?), \"[^\"]+\""
    r"[^\"]*?\b((?:19|20)\d\d)"
)


def _source(doc: str) -> str:
    """Authors and year of each reference."""
    references = " ".join(doc.partition("References:")[2].split())
    found = REFERENCE.findall(references)
    return "; ".join(f"{_authors(authors)} {year}" for authors, year in found[:3])


def _authors(text: str) -> str:
    """At most two names."""
    names = re.split(r", (?:and )?| and ", text.strip())
    if len(names) > 2:
        return f"{names[0]} et al."
    return text.strip().replace(" and ", " & ")


PAGES = {
    "reference/initializers.md": initializers_page,
    "reference/schemes.md": schemes_page,
}


if __name__ == "__main__":
    for path, page in PAGES.items():
        (DOCS / path).write_text(page())

"""Hooks of mkdocs: notebooks as pages, formulas of docstrings as Unicode.

The notebooks are kept without outputs, since tests run them; so a
page shows what to run, not what once came out.
"""

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "scripts"))

from formulas import unicode

FORMULA = re.compile(r":math:\s*<code>(.*?)</code>", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Adds the page of each notebook."""
    for path in sorted(Path(config["docs_dir"]).glob("notebooks/*.ipynb")):
        uri = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, uri, content=as_markdown(path)))
    return files


def as_markdown(path: Path) -> str:
    """The cells, one after another."""
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join(
        _shown(cell["cell_type"], "".join(cell["source"])) for cell in cells
    )


def _shown(kind: str, source: str) -> str:
    return f"```python\n{source}\n```" if kind == "code" else source


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks lead to their pages."""
    return markdown.replace(".ipynb)", ".md)")


def on_page_content(content: str, **_: Any) -> str:
    """Formulas in docstrings, without a script that would have to be fetched."""

    def readable(found: re.Match[str]) -> str:
        return f"<em>{html.escape(unicode(html.unescape(found[1])))}</em>"

    return FORMULA.sub(readable, content).replace(".. math::", "")

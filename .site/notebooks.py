"""Shows each notebook of the docs as a page: its text, and its code as it stands.

A hook of mkdocs. The notebooks are kept without outputs, since tests run them; so a
page shows what to run, not what once came out.
"""

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


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

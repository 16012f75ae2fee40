"""Runs studies, and keeps their records and figures for the pages that cite them.

    python -m examples.papers [--quick | --smoke] [--keep] [--check] [name ...]

With `--keep` the records go to `benchmarks/results/papers/`, the figures to
`docs/images/papers/`; then `python docs/scripts/papers.py` renews the pages.
"""

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

from examples import papers
from examples.papers.study import Study, as_text, run, save

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "papers"
FIGURES = ROOT / "docs" / "images" / "papers"
SHARED = ("study", "__main__")


def studies() -> dict[str, Study]:
    """All studies, by name."""
    names = [module.name for module in pkgutil.iter_modules(papers.__path__)]
    return {
        name: importlib.import_module(f"examples.papers.{name}").STUDY
        for name in names
        if name not in SHARED
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="by default all")
    parser.add_argument("--quick", action="store_const", const="quick", dest="mode")
    parser.add_argument("--smoke", action="store_const", const="smoke", dest="mode")
    parser.add_argument("--keep", action="store_true", help="keep records and figures")
    parser.add_argument(
        "--check", action="store_true", help="status 1 if a claim does not hold"
    )
    parser.set_defaults(mode="full")
    args = parser.parse_args()
    found = studies()
    held = True
    for name in args.names or found:
        record, draw = run(found[name], args.mode)
        print(as_text(record), end="\n\n", flush=True)
        held &= all(claim["holds"] for claim in record["claims"])
        if args.keep:
            RECORDS.mkdir(parents=True, exist_ok=True)
            FIGURES.mkdir(parents=True, exist_ok=True)
            text = json.dumps(record, indent=1, ensure_ascii=False)
            (RECORDS / f"{name}.json").write_text(text + "\n")
            save(draw, FIGURES / f"{name}.svg")
    if args.check and not held:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

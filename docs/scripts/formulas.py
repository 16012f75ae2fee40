"""Short TeX formulas of docstrings as Unicode."""

# ruff: noqa: RUF001 -- Greek letters are meant

import re

SYMBOLS = {
    **{"alpha": "α", "beta": "β", "sigma": "σ", "lambda": "λ", "epsilon": "ε"},
    **{"omega": "ω", "Delta": "Δ", "pi": "π", "pm": "±", "sim": "~", "dots": "…"},
    **{"gamma": "γ", "delta": "δ", "phi": "φ", "theta": "θ", "mu": "μ", "xi": "ξ"},
    **{"cdot": "·", "le": "≤", "ge": "≥", "times": "×", "infty": "∞", "approx": "≈"},
    **{"sqrt": "√", "tfrac12": "½", "log": "log "},
}
SIGNS = {"^2": "²", "\\,": " ", "_0": "₀", "{": "(", "}": ")"}


def unicode(formula: str) -> str:
    """A formula as it reads without a typesetter."""
    formula = re.sub(r"\\text\{([^}]*)\}", r"\1", formula)
    formula = re.sub(r"\\frac\{(.*?)\}\{(.*?)\}", _fraction, formula)
    formula = re.sub(r"\\frac (\w)(\\?\w+)", r"\1/\2", formula)
    names = "|".join(sorted(SYMBOLS, key=len, reverse=True))
    formula = re.sub(
        rf"\\({names})(?![a-z])(?: (?=[\w\\(]))?", lambda m: SYMBOLS[m[1]], formula
    )
    for written, read in SIGNS.items():
        formula = formula.replace(written, read)
    return formula.replace("~", " ~ ").replace("  ", " ").replace("\\", "")


def _fraction(match: re.Match[str]) -> str:
    return "/".join(p if p.isalnum() else f"({p})" for p in match.groups())

"""A text is a sound report or one ValueError that names the place."""

import copy
import json
import random

import pytest

from jaxinit.report.json import schema
from jaxinit.report.report import Report
from tests.report.test_report import assert_same, nasty_report

TEXT = nasty_report().to_json()
DOCUMENT = json.loads(TEXT)


def _places(value, path=()):
    """The path of everything in a document."""
    yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from _places(value[key], (*path, key))


PLACES = list(_places(DOCUMENT))[1:]

STRANGE = [
    *(None, True, False, 0, -1, 3, 2**70, -(2**70), 10**400, 0.5, 1e308, -0.0),
    *("", "a", "NaN", "nan", "ok", "\ud800", "\x1b[2J", "9" * 50),
    *([], [[]], [1, 2], [[1.0], [2.0, 3.0]], ["a"], {}, {"a": 1}, {"$float": "x"}),
    {"$float": []},
]


def _mutated(rng):
    """A document with one or two changes, and where the last was."""
    document = json.loads(TEXT)
    for _ in range(rng.choice([1, 1, 2])):
        path = rng.choice(PLACES)
        holder = document
        try:
            for key in path[:-1]:
                holder = holder[key]
            old = holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # the first change took it away
        if isinstance(holder, str):
            continue  # ... or put a text in its place
        how = rng.randrange(6)
        if how == 0:
            del holder[path[-1]]
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(old))
        elif how == 2 and isinstance(old, list) and old and isinstance(old[0], list):
            holder[path[-1]] = [list(column) for column in zip(*old, strict=False)]
        elif how == 3 and isinstance(holder, dict):
            holder[f"{path[-1]}?"] = copy.deepcopy(old)
        elif how == 4:
            other = rng.choice(PLACES)
            value = DOCUMENT
            for key in other:
                value = value[key]
            holder[path[-1]] = copy.deepcopy(value)
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(STRANGE))
    return json.dumps(document)


def _use(report):
    """All that a report promises to do."""
    report.summary()
    assert isinstance(report.worst_seed, int)
    report.key(int(report.seeds[0]))
    text = report.to_json()
    assert Report.from_json(text).to_json() == text
    assert "Verdict: " in report.table(ascii=True)


def test_three_thousand_mutations():
    rng = random.Random(0)
    loaded = [_sound_or_named(_mutated(rng)) for _ in range(3000)]

    assert 300 < sum(loaded) < 2000


def _sound_or_named(text):
    """Whether a text loads; if so, the report is used, if not, the place is named."""
    try:
        report = Report.from_json(text)
    except ValueError as error:
        message = str(error)
    else:
        _use(report)
        return True
    assert "`" in message or "not a report" in message, message
    return False


def _refusal(text):
    try:
        Report.from_json(text)
    except ValueError as error:
        return str(error)
    return None


def test_cut_and_scrambled_text():
    rng = random.Random(1)
    text = nasty_report().to_json()
    for _ in range(300):
        i, j = sorted(rng.sample(range(len(text)), 2))
        for broken in (text[:i], text[i:], text[:i] + text[j:]):
            _sound_or_named(broken)


def _changed(path, value):
    document = json.loads(TEXT)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("notes",), "str", r"`report.notes` must be a list, got 'str'"),
        (("verdict",), "dead", r"`report.verdict` must be .* got 'dead'"),
        (("rows", 1, "fan_in"), 2.5, r"`report.rows\[1\].fan_in` must be an integer"),
        (("rows", 1, "samples"), True, r"samples` must be an integer of 64 .*True"),
        (("rows", 0, "fans"), 1, r"`report.rows\[0\]` has no field 'fans'"),
        (("findings", 0, "kind"), "sad", r"findings\[0\].kind` must be one of 'non-f"),
        (("findings", 0, "seed_share"), 2.0, r"seed_share` must lie between 0 and 1"),
        (("forward", "rms", 2), [1.0], r"forward\['rms'\]\[2\]` must be a list of 5"),
        (("forward", "rms"), [[1.0] * 4] * 5, r"must have shape \(4, 5\), got \(5, 4"),
        (("forward", "rms", 0, 0), 10**400, r"\[0\]\[0\]` must be a number that a fl"),
        (("seeds", 1), 0, "`seeds` must hold different integers"),
        (
            ("seeds",),
            [0, 1, 2, 2**63],
            r"`report.seeds\[3\]` must be an integer of 64",
        ),
        (("loss",), None, "`loss` must be there in mode 'loss'"),
        (("mode",), "Loss", r"`report.mode` must be one of 'probe', 'loss'"),
        (("profiles",), {"nowhere": {}}, "'nowhere', which names no row"),
        (("key_data",), [1, 2, 3], "`key_data` must hold a key of 'threefry2x32'"),
        (("key_impl",), "fourfry", "`key_data` must hold a key of 'fourfry'"),
    ],
)
def test_the_place_is_named(path, value, message):
    with pytest.raises(ValueError, match=message):
        Report.from_json(_changed(path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("  \n", "the text is empty"),
        ("[1]", "got no object"),
        ("[" * 100_000, "nested too deeply|no JSON"),
        ('{"a":' * 100_000, "nested too deeply|no JSON"),
        ('{"schema": NaN}', "NaN is no JSON"),
        (b"\xff\xfe{", "no UTF-8"),
        ("no/such/file.json", "neither JSON text nor the path of a file"),
    ],
)
def test_no_report_at_all(text, message):
    with pytest.raises(ValueError, match=message):
        Report.from_json(text)


def test_deep_settings():
    text = _changed(("settings", "deep"), "HERE")
    for depth in (100, 900):
        deep = text.replace('"HERE"', "[" * depth + "]" * depth)
        assert _refusal(deep) in (None, "not a report: it is nested too deeply.")


def test_a_missing_file_is_also_a_missing_file(tmp_path):
    for path in ("no_such.json", tmp_path / "no_such.json"):
        with pytest.raises(FileNotFoundError, match=r"no_such\.json"):
            Report.from_json(path)


@pytest.mark.parametrize("bad", [None, 3, ["a"], {}])
def test_wrong_types(bad):
    with pytest.raises(TypeError, match="`text_or_path` must be JSON text or the path"):
        Report.from_json(bad)


def test_a_byte_order_mark_changes_nothing(tmp_path):
    report = nasty_report()
    text = report.to_json()
    (tmp_path / "r.json").write_text(text, encoding="utf-8-sig")

    assert_same(report, Report.from_json("\ufeff" + text))
    assert_same(report, Report.from_json(text.encode("utf-8-sig")))
    assert_same(report, Report.from_json(str(tmp_path / "r.json")))


def _conforms(value, rule, defs):
    """Whether a value is as JSON Schema says, for the words that ours uses."""
    if "$ref" in rule:
        return _conforms(value, defs[rule["$ref"].rsplit("/", 1)[1]], defs)
    if "anyOf" in rule:
        return any(_conforms(value, option, defs) for option in rule["anyOf"])
    if "enum" in rule:
        return value in rule["enum"]
    if "const" in rule:
        return value == rule["const"]
    kinds = {"array": list, "object": dict, "string": str, "boolean": bool}
    kinds |= {"integer": int, "null": type(None), "number": (int, float)}
    if "type" in rule and not isinstance(value, kinds[rule["type"]]):
        return False
    if rule.get("type") == "integer":
        return rule["minimum"] <= value <= rule["maximum"]
    if rule.get("type") == "array" and "items" in rule:
        return all(_conforms(item, rule["items"], defs) for item in value)
    if rule.get("type") == "object":
        known, more = rule.get("properties", {}), rule.get("additionalProperties")
        if any(name not in value for name in rule.get("required", ())):
            return False
        return all(
            _conforms(item, known[name], defs)
            if name in known
            else more is not False and _conforms(item, more or {}, defs)
            for name, item in value.items()
        )
    return True


def test_the_published_schema_is_what_is_written_and_read():
    rule = schema()
    rng = random.Random(2)

    assert _conforms(DOCUMENT, rule, rule["$defs"])
    assert not _conforms({**DOCUMENT, "notes": "str"}, rule, rule["$defs"])
    assert json.loads(json.dumps(rule)) == rule
    # Whatever loads conforms.
    for _ in range(300):
        text = _mutated(rng)
        conforms = _conforms(json.loads(text), rule, rule["$defs"])
        assert conforms or _refusal(text) is not None

"""The documents are true: their commands parse, their links lead somewhere, their example adds up."""

import argparse
import json
import re
import runpy
import shlex
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from benchmarks import forecast
from dispatch.baseline import ADJUSTMENT_HIGH, ADJUSTMENT_LOW
from dispatch.settlement import Delivery, decimal_mw, settle
from vpp.domain.market import Event
from vpp.service.cli import app
from vpp.service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CLI: Any = get_command(app)
COMMANDS: dict[str, Any] = CLI.commands
NAMES = [p.name for p in DOCUMENTS]


def fences(text: str, language: str) -> list[str]:
    """Bodies of the fenced blocks of a language."""
    return [body for given, body in FENCE.findall(text) if given == language]


def words_of(line: str) -> list[str]:
    """A shell line up to its comment or the first operator."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    ends = [i for i, w in enumerate(words) if w and set(w) <= set("|&;<>()")]
    return words[: min(ends, default=len(words))]


def shell_commands(text: str) -> list[list[str]]:
    """Every `vpp` and `make` command of the shell blocks."""
    lines = "\n".join(fences(text, "sh")).replace("\\\n", " ").splitlines()
    return [w for line in lines if (w := words_of(line)) and w[0] in ("vpp", "make")]


def inline_commands(text: str) -> list[list[str]]:
    """Every `vpp x ...` and `make x` in running text."""
    spans = re.findall(r"`((?:vpp|make) [a-z][^`]*)`", FENCE.sub("", text))
    return [words_of(span) for span in spans]


def refusal(words: list[str], whole: bool) -> str:
    """Why a command line is wrong, "" where it is right; `whole` asks for required arguments too."""
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
        unknown = [w for w in words[1:] if "=" not in w and w not in targets]
        return f"unknown target {unknown}" if unknown else ""
    if words[1] not in COMMANDS:
        return f"unknown command {words[1]}"
    command = COMMANDS[words[1]]
    if not whole:
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        unknown = [w for w in words[2:] if w.startswith("--") and w not in known]
        return f"unknown options {unknown}" if unknown else ""
    try:
        command.make_context(words[1], words[2:])
    except Exception as wrong:  # the parser's own errors differ between versions
        return repr(wrong)
    return ""


class Parsed(Exception):
    """A command line was parsed; what would run it is not reached."""


def benchmark_commands(text: str) -> list[list[str]]:
    """Every `python benchmarks/x.py ...` of the shell blocks, from the script on."""
    lines = "\n".join(fences(text, "sh")).replace("\\\n", " ").splitlines()
    return [w[1:] for line in lines if (w := words_of(line))[:1] == ["python"] and w[1].startswith("benchmarks/")]


def benchmark_refusal(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why a benchmark's parser refuses a command line, "" where it takes it; DIR stands for `folder`."""
    script, given = ROOT / words[0], [str(folder) if w == "DIR" else w for w in words[1:]]
    if not script.is_file():
        return f"no script {words[0]}"
    honest = argparse.ArgumentParser.parse_args

    def stopped(self: argparse.ArgumentParser, *args: Any) -> None:
        honest(self, *args)
        raise Parsed

    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", [str(script), *given])
        patched.setattr(sys, "path", list(sys.path))
        try:
            if script.name == "forecast.py":
                forecast.parsed(given)
                return ""
            patched.setattr(argparse.ArgumentParser, "parse_args", stopped)
            runpy.run_path(str(script), run_name="__main__")
        except Parsed:
            return ""
        except SystemExit as refused:
            return f"refused with {refused.code}"
    return "never parsed its arguments"


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


def dead_links(document: Path, text: str) -> list[str]:
    """Relative links of a document without a file or a heading behind them."""
    dead = []
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


def section(text: str, title: str) -> str:
    """The text below one heading up to the next of its level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", text, re.M | re.S)
    assert found is not None, title
    return found.group(2)


def first_column(text: str) -> list[str]:
    """Names in backticks in the first column of the tables of a text."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_command_line_parses(document: Path) -> None:
    text = document.read_text()
    wrong = [(w, why) for w in shell_commands(text) if (why := refusal(w, whole=True))]
    wrong += [(w, why) for w in inline_commands(text) if (why := refusal(w, whole=False))]
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_benchmark_command_parses(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = benchmark_commands(document.read_text())
    assert document.name not in ("README.md", "forecasts.md") or lines
    assert [(w, why) for w in lines if (why := benchmark_refusal(w, tmp_path, monkeypatch))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("forecast_peers.py --peer-python OTHER/bin/python", True),
        ("forecast_peers.py --data DIR --peer-python OTHER/bin/python", False),
        ("forecast.py steel --data DIR --from 2018-07-01 --to 2018-09-30", True),
        ("forecast.py gefcom2014-wind --data DIR --tasks 9-4", True),
        ("forecast.py gefcom2014-wind --data DIR --tasks 4-9  # all", False),
        ("forecast_scale.py --fitted 20", True),
        ("nothing.py", True),
    ],
)
def test_a_wrong_benchmark_command_is_found(
    line: str, wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = benchmark_commands(f"```sh\npython benchmarks/{line}\n```")
    assert len(found) == 1
    assert bool(benchmark_refusal(found[0], tmp_path, monkeypatch)) is wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert dead_links(document, document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_path_named_exists(document: Path) -> None:
    roots = "vpp|forecasting|dispatch|grid_models|adapters|config|tests|benchmarks|docs"
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", document.read_text()))
    paths = [s for s in spans if re.fullmatch(rf"(?:{roots})/[\w./-]+", s) and not re.search(r"/(x\.py|mine)", s)]
    assert paths
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_map_of_the_folders_is_the_tree() -> None:
    named = first_column(section((ROOT / "README.md").read_text(), "Map of the folders"))
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert folders <= {Path(n).parts[0] for n in named}


def test_the_readme_shows_every_command_and_variable() -> None:
    text = (ROOT / "README.md").read_text()
    assert {w[1] for w in shell_commands(text) if w[0] == "vpp"} == set(COMMANDS)
    named = first_column(section(text, "Environment variables"))
    assert {n for n in named if n.startswith(PREFIX)} == {PREFIX + f.upper() for f in Settings.model_fields}


def test_the_readme_names_every_kind_and_its_parameters() -> None:
    from dispatch.registry import KINDS

    rows = section((ROOT / "README.md").read_text(), "Your own portfolio").splitlines()
    table = {row.split("|")[1].strip(" `"): row for row in rows if row.count("|") == 4}
    for name, kind in KINDS.items():
        params: Any = kind.Params
        wanted = [*kind.INPUTS, *params.model_fields]
        patterns = re.findall(r"[\w]+\*?", table[name])
        missing = [w for w in wanted if not any(re.fullmatch(p.replace("*", ".*"), w) for p in patterns)]
        assert (name, missing) == (name, [])


def test_the_worked_line_adds_up() -> None:
    line = json.loads(fences((ROOT / "docs" / "demo.md").read_text(), "json")[0])
    ratio = line["window_today_mw"] / line["window_like_days_mw"]
    assert float(np.clip(ratio, ADJUSTMENT_LOW, ADJUSTMENT_HIGH)) == pytest.approx(line["adjustment"])
    baseline = line["adjustment"] * float(np.mean(line["like_days_mw"]))
    assert str(decimal_mw(baseline)) == line["baseline_mw"]
    start, count = datetime(2016, 7, 12, 15, 30, tzinfo=UTC), len(line["quarters"])
    event = Event(
        "worked", 1, "", "", start, start, start + count * timedelta(minutes=15), 1.0,
        Decimal(line["price_eur_per_mwh"]), Decimal(line["penalty_eur_per_mwh"]), start,
    )  # fmt: skip
    metered = np.array([q["metered_mw"] for q in line["quarters"]])
    site = Delivery("site", np.full(count, line["ordered_mw"]), np.full(count, baseline), metered)
    found = settle(event, [site], "ten_in_ten_adjusted", "EUR").lines
    told = [(q["delivered_mw"], q["payment"], q["penalty"]) for q in line["quarters"]]
    assert [(str(x.delivered_mw), str(x.payment), str(x.penalty)) for x in found] == told


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```sh\nvpp plan --day 2016-07-12 --secure\n```", True),
        ("```sh\nvpp event dr-demo --json -\n```", True),
        ("```sh\nvpp simulate --days many\n```", True),
        ("```sh\nvpp replan\n```", True),
        ("```sh\nmake everything\n```", True),
        ("say `vpp plan --fast`", True),
        ("```sh\nvpp plan --day 2016-07-12 \\\n  --json -  # stdout\n```", False),
        ("say `vpp event` or `vpp plan --no-security`", False),
    ],
)
def test_a_wrong_command_line_is_found(text: str, wrong: bool) -> None:
    reasons = [refusal(w, whole=True) for w in shell_commands(text)]
    reasons += [refusal(w, whole=False) for w in inline_commands(text)]
    assert len(reasons) > 0
    assert any(reasons) is wrong


def test_a_dead_link_is_found() -> None:
    document = ROOT / "README.md"
    text = "[x](docs/architecture.md) [y](nowhere.md) ![z](docs/none.png) [w](https://example.org) [v](LICENSE#no)"
    assert dead_links(document, text) == ["nowhere.md", "docs/none.png", "LICENSE#no"]

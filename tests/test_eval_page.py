"""The page of a run in a real Chromium: its figures, its filter, its keyboard, and that it trusts no word of a case."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.loop.ladder import Rung
from evals.intervals import Figure
from evals.pressure import Curve, Step
from evals.records import Record, ScoreRecord
from evals.reporting.html import page
from evals.reporting.pressure import page as curves_page
from tests.browser import Browser
from tests.report_bed import (
    SOME,
    invalid,
    manifest,
    record,
    run_of,
    unreachable,
    wrong_arguments,
    wrong_tool,
)

HOSTILE = (
    "</script></pre><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>{{ 7*7 }}"
)
SHOWN = "[...document.querySelectorAll('details.case:not([hidden]) .id')].map(id => id.textContent.trim())"
"""The ids of the failing answers that are shown."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def opened(browser: Browser, folder: Path, records: Any = SOME, address: str = "", **given: Any) -> Browser:
    """The page of a run, open in the browser; a new file each time, so that nothing is left of the last."""
    path = folder / "report.html"
    path.write_text(page(run_of(records, **given)), encoding="utf-8")
    browser.asked.clear()
    browser.complaints.clear()
    browser.open(path, address)
    return browser


def test_figures_stand_on_the_page(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path)
    tiles = tab.ask("[...document.querySelectorAll('.tile')].map(t => t.innerText)")
    assert [" ".join(tile.split("\n")[:3]).replace("  ", " ") for tile in tiles] == [
        "exact call 42.9 %", "right tool 57.1 %", "valid at once 85.7 %", "accepted 85.7 %",
        "forbidden 14.3 %", "median latency 500 ms",
    ]  # fmt: skip
    assert tab.ask("document.querySelector('#failing h2').innerText") == "What went wrong 4 of 7"
    assert "1 answer could not be had" in tab.ask("document.querySelector('.warn').innerText")
    assert tab.ask("document.querySelector('#errors').innerText").endswith("gone\tunreachable: connection refused")


def test_every_failing_answer_is_there_with_all_that_explains_it(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path)
    assert tab.ask(SHOWN) == ["bad-3", "bad-2", "bad-1", "bad-4"]
    case = "document.querySelector('details.case[data-rung=exact]')"
    tab.ask(f"{case}.open = true")
    text = tab.ask(f"{case}.innerText")
    for part in (
        "what about job 7, bad-1?",
        'show_job {"job_id": "7"}',
        'show_job {"job_id": "8"}',
        "wrong",
        "assistant",
    ):
        assert part in text
    badges = tab.ask("[...document.querySelectorAll('.badge')].map(b => b.textContent)")
    assert badges == ["forbidden", "wrong tool", "wrong arguments", "not grounded"]


def test_nothing_is_fetched_and_nothing_is_complained_of(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path)
    assert len(tab.asked) == 1 and tab.asked[0].startswith("file:") and not tab.complaints
    assert "default-src 'none'" in tab.ask("document.querySelector('meta[http-equiv]').content")


def test_the_words_of_a_case_are_text_wherever_they_stand(browser: Browser, tmp_path: Path) -> None:
    hostile = wrong_arguments(
        HOSTILE, category=HOSTILE, tags=(HOSTILE, '" onmouseover="x'), request=HOSTILE, turns=(HOSTILE, {"a": HOSTILE}),
        expect={"tool": "show_job", "arguments": {"job_id": HOSTILE}}, forbid=(HOSTILE,), text=HOSTILE,
        transcript=({"role": HOSTILE, "content": HOSTILE}, {"role": "user", "content": [{"text": HOSTILE}]}),
    )  # fmt: skip
    arguments = tuple(one.model_copy(update={"name": HOSTILE, "got": HOSTILE}) for one in hostile.score.arguments)
    hostile = hostile.model_copy(update={"score": hostile.score.model_copy(update={"arguments": arguments})})
    model = {"name": HOSTILE, "url": HOSTILE, "revision": HOSTILE, "engine": HOSTILE}
    records = [hostile, unreachable("gone", HOSTILE)]
    tab = opened(browser, tmp_path, records, model=model, sampling={HOSTILE: HOSTILE}, machine={HOSTILE: HOSTILE})
    assert tab.ask("document.title") == f"{HOSTILE} · sask eval"
    assert tab.ask("document.querySelectorAll('img').length") == 0
    assert tab.ask("document.querySelectorAll('script').length") == 1
    handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert tab.ask(handlers) == []
    assert tab.ask("document.querySelector('pre.request').textContent") == HOSTILE
    assert tab.ask("document.querySelector('details.case').dataset.category") == HOSTILE
    assert len(tab.asked) == 1 and not tab.complaints


def test_a_script_that_slipped_in_could_not_run(browser: Browser, tmp_path: Path) -> None:
    """The page allows its own script alone, by its hash: what the escaping would miss is still not run."""
    path = tmp_path / "report.html"
    path.write_text(page(run_of(SOME)).replace("</main>", "<script>document.title='owned'</script></main>"), "utf-8")
    browser.open(path)
    assert browser.ask("document.title") == "Some-Model-FP8 · sask eval"
    assert browser.ask(f"{SHOWN}.length") == 4


def choose(tab: Browser, name: str, value: str) -> Any:
    """What is shown once a field of the filter says so."""
    field = f"document.querySelector('#filter').elements[{json.dumps(name)}]"
    tab.ask(f"{field}.value = {json.dumps(value)}")
    tab.ask(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    return tab.ask(SHOWN)


def test_filters_by_field_and_by_words(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path)
    assert choose(tab, "tag", "typo") == ["bad-2", "bad-1"]
    assert choose(tab, "category", "diagnose_job") == ["bad-2"]
    assert tab.ask("document.querySelector('#filter output').value") == "1 of 4 answers"
    assert tab.ask("location.hash") == "#category=diagnose_job&tag=typo"
    assert choose(tab, "rung", "grounded") == []
    assert tab.ask("document.querySelector('#nothing').hidden") is False
    tab.ask("document.querySelector('#filter').reset()")
    tab.until(f"{SHOWN}.length === 4 && location.hash === ''")
    assert choose(tab, "text", "CANCEL  7") == ["bad-3"]


def test_a_view_is_an_address_and_figures_lead_to_their_cases(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path, address="rung=tool&tag=typo")
    assert tab.ask(SHOWN) == ["bad-2"]
    tab.ask("document.querySelector('.matrix .wrong a[href*=cancel_jobs]').click()")
    tab.until(f"String({SHOWN}) === 'bad-3'")
    links = tab.ask("[...document.querySelectorAll('a.pick')].map(a => a.getAttribute('href'))")
    assert {link.partition("=")[0] for link in links} == {"#rung", "#category", "#wanted", "#argument"}
    for link in links:
        choose(tab, "text", "no such case")
        tab.ask(f"location.hash = {json.dumps(link)}")
        tab.until(f"document.querySelector('#filter').elements.text.value === '' && {SHOWN}.length > 0")


def test_the_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path)
    tab.press("/")
    assert tab.ask("document.activeElement.name") == "text"
    tab.type("bad-4")
    assert tab.ask(SHOWN) == ["bad-4"]
    while tab.ask("document.activeElement.tagName") != "SUMMARY":
        tab.press("Tab")
    tab.press("Enter", "\r")
    assert tab.ask("document.querySelector('details.case[open] .id').textContent.trim()") == "bad-4"
    assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("/")
    tab.press("Escape")
    tab.until(f"{SHOWN}.length === 4")


SMALL_PRINT = [
    "h1", ".facts", ".tile h2", ".within", ".fell", ".badge", ".lead", ".pick", "td.strong", "pre.request", ".asked",
    "#filter label", ".tile.bad .big",
]  # fmt: skip
CONTRAST = """
    const linear = part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    const light = colour => {
      const [red, green, blue] = colour.match(/[\\d.]+/g).map(part => linear(part / 255));
      return .2126 * red + .7152 * green + .0722 * blue;
    };
    const behind = element => {
      const colour = getComputedStyle(element).backgroundColor;
      return /, 0\\)$/.test(colour) ? behind(element.parentElement) : colour;
    };
    const contrast = selector => {
      const element = document.querySelector(selector);
      const [low, high] = [getComputedStyle(element).color, behind(element)].map(light).sort((a, b) => a - b);
      return (high + .05) / (low + .05);
    };
"""  # the contrast ratio of WCAG 2, between a text and what is behind it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(browser: Browser, tmp_path: Path, scheme: str) -> None:
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab = opened(browser, tmp_path)
    paper = [int(n) for n in re.findall(r"\d+", tab.ask("getComputedStyle(document.body).backgroundColor"))]
    assert (sum(paper) > 600) == (scheme == "light")
    tab.ask("document.querySelector('details.case').open = true")
    found = {name: tab.ask(f"(() => {{ {CONTRAST} return contrast({json.dumps(name)}) }})()") for name in SMALL_PRINT}
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}
    browser.send("Emulation.setEmulatedMedia", features=[])


def test_nothing_sticks_out_on_a_telephone_and_the_filter_is_not_printed(browser: Browser, tmp_path: Path) -> None:
    wide = "document.documentElement.scrollWidth"
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    assert opened(browser, tmp_path).ask(wide) == 360
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.ask("getComputedStyle(document.querySelector('#filter')).display") == "none"
    browser.send("Emulation.setEmulatedMedia", media="")


def step(value: float, valid: float | None, seconds: float | None) -> Step:
    share = Figure(valid, None if valid is None else valid - 0.1, valid, 20)
    time = Figure(seconds, seconds, None if seconds is None else 2 * seconds, 20)
    return Step(value, 20, 0 if valid else 20, share, share, share, time, time, 100.0, 3.0)


def test_the_curves_under_pressure_are_drawn_and_fit_a_telephone(browser: Browser, tmp_path: Path) -> None:
    steps = (step(1, 1.0, 0.2), step(16, 0.8, 0.4), step(256, None, None))
    found = [Curve("concurrency", steps), Curve("temperature", (step(0.0, 1.0, 0.1),))]
    (tmp_path / "p.html").write_text(curves_page(found, manifest()), encoding="utf-8")
    browser.asked.clear()
    browser.complaints.clear()
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    browser.open(tmp_path / "p.html", "")
    assert browser.ask("document.documentElement.scrollWidth") == 360 and not browser.complaints
    browser.send("Emulation.clearDeviceMetricsOverride")
    height = "[...document.querySelectorAll('#concurrency svg:first-of-type .dot-1')].map(d => +d.getAttribute('cy'))"
    valid, latency = browser.ask(height)[:2], browser.ask(height)[2:]
    assert valid[0] < valid[1] and latency[0] > latency[1], "validity falls, latency rises; no dot where none answered"
    assert browser.ask("document.querySelectorAll('section').length") == 2
    assert "not answered" in browser.ask("document.body.innerText") and "nan" not in browser.ask(
        "document.body.innerHTML"
    )


@pytest.mark.parametrize(
    ("records", "given", "words"),
    [
        ([], {}, "Nothing was answered"),
        ([unreachable("a")], {}, "Nothing was answered"),
        ([invalid("a", rung) for rung in Rung][:1], {}, "What went wrong 1 of 1"),
        ([record("a")], {"finished": None}, "This run is not finished: 1 answers so far"),
        ([record("a", expect={"action": "reply"}, kind="reply", calls=(), text="No.")], {}, "No call took an argument"),
        ([record("a", repeat=0), wrong_tool("a", repeat=1)], {"repeats": 2}, "repeat 2"),
    ],
)
def test_odd_runs_have_a_page_too(
    browser: Browser, tmp_path: Path, records: list[Record], given: dict[str, Any], words: str
) -> None:
    if records and records[0].kind == "reply":
        records = [records[0].model_copy(update={"score": ScoreRecord(tool=True, exact=True, forbidden=False)})]
    tab = opened(browser, tmp_path, records, **given)
    assert words in tab.ask("document.body.innerText") and not tab.complaints

"""The report, as its reader has it: in a browser, from a file, without a network."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Error, Page, sync_playwright

from rrl.cells import column_label, label
from rrl.cli.report import write
from rrl.cli.show import cell as shown_by_rrl_show
from rrl.config.load import load_plan
from rrl.job import _checksum, read_card
from rrl.plan import Plan
from tests.helpers.clones import CLONE, duplicate, edited, planned_jobs, snakemake


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that the tests of this file change, and put back."""
    return duplicate(tiny, tmp_path_factory.mktemp("tiny") / "clone")


CONFIG = "workflow/config/tiny.yaml"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path)
        except Error as error:
            pytest.fail(
                "no Chromium that starts: apt-get install chromium, or, without root, .venv/bin/playwright install "
                f"chromium; then run the same command again ({str(error).splitlines()[0]})"
            )
        yield browser
        browser.close()


@dataclass
class Opened:
    page: Page
    said: list[str] = field(default_factory=list)  # on the console, and errors
    asked: list[str] = field(default_factory=list)  # requests


@contextmanager
def opened(chromium: Browser, path: Path, address: str = "", **options: Any) -> Iterator[Page]:
    """The page, from its file and without a network; fails the test if it says, or asks for, anything."""
    with chromium.new_context(offline=True, **options) as context:
        shown = Opened(context.new_page())
        shown.page.on("console", lambda message: shown.said.append(message.text))
        shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
        shown.page.on("request", lambda request: shown.asked.append(request.url))
        shown.page.goto(path.resolve().as_uri() + address)
        yield shown.page
        assert shown.said == []
        assert [url for url in shown.asked if not url.startswith(("data:", path.resolve().as_uri()))] == []


@pytest.fixture(scope="module")
def report(tiny: Path) -> Iterator[Path]:
    command = [sys.executable, "-m", "rrl.cli", "report", CONFIG]
    result = subprocess.run(command, cwd=tiny, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"results/tiny/report\.html: \d+ current artifacts\n", result.stdout)
    path = tiny / "results/tiny/report.html"
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def plan(tiny: Path) -> Plan:
    return load_plan(tiny / CONFIG)


def remade(tiny: Path, folder: Path, change: Any = lambda content, results: None) -> Path:
    """The report of tiny's results, and of its config, both as `change` makes them."""
    results = folder / "results/tiny"
    shutil.copytree(tiny / "results/tiny", results, copy_function=os.link, ignore=shutil.ignore_patterns("work"))
    (results / "report.html").unlink(missing_ok=True)
    content = yaml.safe_load((tiny / CONFIG).read_text())
    change(content, results)
    (folder / "config.yaml").write_text(f"# <b>Tiny</b> & so on.\n{yaml.safe_dump(content, allow_unicode=True)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(Path("config.yaml"))
    return results / "report.html"


def visit(page: Page, address: str) -> None:
    """Another page of the report that is open."""
    page.evaluate(
        "(address) => new Promise((done) => {"
        " addEventListener('hashchange', done, { once: true }); location.hash = address; })",
        address,
    )


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def contents(path: Path) -> dict[str, Any]:
    (found,) = re.findall(r'id="contents">(.*?)</script>', path.read_text(), flags=re.DOTALL)
    return json.loads(found)  # type: ignore[no-any-return]


def test_the_same_results_give_the_same_bytes(tiny: Path, report: Path) -> None:
    before = report.read_bytes()
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-m", "rrl.cli", "report", CONFIG], cwd=tiny, env=environment, check=True)
    assert report.read_bytes() == before
    assert planned_jobs(tiny) == {}


def test_tables_and_figures_are_there_with_the_numbers_of_the_files(
    chromium: Browser, tiny: Path, report: Path, plan: Plan
) -> None:
    with opened(chromium, report) as page:
        for name, table in plan.config.tables.items():
            blocks = re.findall(r"(?:^\|.*\n)+", (tiny / f"results/tiny/{name}.md").read_text(), flags=re.MULTILINE)
            assert len(blocks) == len(table.selections) == page.locator(f"section#{name} table").count()
            for number, block in enumerate(blocks):
                heading, _, *rows = [[part.strip() for part in row.split("|")[1:-1]] for row in block.splitlines()]
                shown = page.locator(f"section#{name} table").nth(number)
                assert [" ".join(text.split()) for text in shown.locator("thead th").all_inner_texts()] == heading
                for row, expected in zip(shown.locator("tbody tr").all(), rows, strict=True):
                    assert [" ".join(text.split()) for text in row.locator("th, td").all_inner_texts()] == expected
        for name in plan.config.figures:
            frame = page.locator(f"section[id='figures/{name}'] .picture")
            box = frame.locator("svg").bounding_box()
            assert box is not None and box["width"] > 400 and box["height"] > 200
            words = set(
                re.findall(r"<text[^>]*>([^<]+)</text>", (tiny / f"results/tiny/figures/{name}.svg").read_text())
            )
            assert words <= set(frame.locator("svg text").all_text_contents())
            assert (
                plan.config.figures[name].caption
                in page.locator(f"section[id='figures/{name}'] figcaption").inner_text()
            )


def test_a_cell_leads_to_its_records_as_rrl_show_has_them(
    chromium: Browser, tiny: Path, report: Path, plan: Plan
) -> None:
    cells = contents(report)["cells"]
    with opened(chromium, report) as page:
        for name, table in plan.config.tables.items():
            card = read_card(tiny / f"results/tiny/{name}.json")
            for row, column, selection in itertools.product(table.rows, table.columns, table.selections):
                if not plan.cell(row, column):
                    continue
                place = [name, selection, label(row.method, row.ensemble), column_label(column.model_dump())]
                (address,) = [address for address, about in cells.items() if about["place"] == place]
                records = shown_by_rrl_show(card, place[2], place[3], selection)["records"]
                visit(page, address)
                assert texts(page, "#page tbody th") == [record["record"].removesuffix(".json") for record in records]
                assert texts(page, "#page tbody td:nth-child(2)") == [
                    f"{100 * record['top1']:.2f}" for record in records
                ]
                top1 = f"{100 * sum(record['top1'] for record in records) / len(records):.2f}"
                assert re.search(rf"^top-1, %\s+{re.escape(top1)}\b", page.locator("#page").inner_text(), re.MULTILINE)
    assert (
        len(cells)
        == sum(len(table.selections) * len(table.columns) * len(table.rows) for table in plan.config.tables.values())
        - 2
    )


def test_a_record_leads_to_everything_behind_it(chromium: Browser, tiny: Path, report: Path) -> None:
    name = "records/mnist/cat2/linear_probe"
    card = read_card(tiny / f"results/tiny/{name}.json")
    with opened(chromium, report, f"#{name}") as page:
        text = page.locator("#page").inner_text()
        assert page.title().startswith(name) and page.locator("h1:visible").inner_text().startswith(name)
        tried = page.locator("#page details table")
        for result, shown in zip(card.facts["results"], tried.all(), strict=True):
            assert shown.locator("tbody tr").count() == len(result["grid"])
            picked = texts(page, "#page tr.picked")[card.facts["results"].index(result)]
            assert f"{result['selected']['learning_rate']:g} {result['selected']['weight_decay']:g}" in picked
        chain = ["representations/mnist/cat2", "features/mnist/erm-s0", "features/mnist/erm-s1", "targets/mnist",
                 "networks/erm-s0", "networks/erm-s1", "targets/fashion-source"]  # fmt: skip
        assert texts(page, "#page [aria-label='Made from'] tbody th") == chain
        for source in chain:
            about = read_card(tiny / f"results/tiny/{source}.json")
            assert about.code_version in text and about.digest[:12] in text
        target = read_card(tiny / "results/tiny/targets/mnist.json")
        counts = ", ".join(f"{target.facts['counts'][split]:,} {split}" for split in ("train", "val", "test"))
        for expected in (
            counts,
            target.facts["rule"],
            *map("=".join, target.settings["pins"].items()),
            card.key,
            card.digest,
        ):
            assert expected in text
        run = json.loads((tiny / f"results/tiny/{name}.run.json").read_text())
        assert run["finished"] in text and run["host"] in text and run["libraries"]["torch"] in text
        assert "cells of tables" in text
        commands = page.locator("#page pre.command").inner_text().splitlines()
    for command in commands:
        program, *words = command.split()
        assert program == "rrl"
        listing = ["--dry-run", "--quiet", "host"] if words[0] == "run" else []  # not only the number of jobs
        executable = [sys.executable, "-m", "rrl.cli", *words, *listing]
        result = subprocess.run(executable, cwd=tiny, capture_output=True, text=True)
        assert result.returncode == 0 and name in result.stdout + result.stderr, result.stderr


CRAWL = """
async () => {
  const waiting = [""], seen = new Set(waiting), broken = [], named = [];
  for (const address of waiting) {
    const came = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
    if (location.hash.slice(1) !== address) { location.hash = address; await came; }
    const page = document.getElementById("page");
    const heading = [...document.querySelectorAll("h1")].find((item) => item.checkVisibility());
    if (page.hidden && address && !document.getElementById(decodeURIComponent(address))) broken.push(address);
    if (!heading) broken.push(`${address}: no heading`);
    named.push(address);
    for (const link of document.querySelectorAll("a[href]")) {
      const target = link.getAttribute("href");
      if (!target.startsWith("#")) broken.push(target);
      if (!seen.has(target.slice(1))) { seen.add(target.slice(1)); waiting.push(target.slice(1)); }
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((item) => item.id);
  return { broken, named, twice: ids.filter((id, place) => ids.indexOf(id) !== place) };
}
"""


def test_all_links_resolve_and_lead_to_every_artifact_and_cell(chromium: Browser, report: Path) -> None:
    with opened(chromium, report) as page:
        found = page.evaluate(CRAWL)
    assert found["broken"] == [] and found["twice"] == []
    known = contents(report)
    assert set(known["artifacts"]) | set(known["cells"]) <= set(found["named"])


def test_sorting_by_keyboard(chromium: Browser, report: Path) -> None:
    with opened(chromium, report) as page:
        table = page.locator("section#table2 table").first
        heading = table.locator("thead th").nth(5)
        published = table.locator("tbody th").all_inner_texts()

        def column() -> list[float]:
            return [
                float(cell.get_attribute("data-sort") or "nan") for cell in table.locator("tbody td:nth-child(6)").all()
            ]

        values = column()
        assert values != sorted(values) and heading.get_attribute("aria-sort") == "none"
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert column() == sorted(values, reverse=True) and heading.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Space")
        assert column() == sorted(values) and heading.get_attribute("aria-sort") == "ascending"
        assert "ascending" in page.locator("[role=status]").inner_text()
        table.locator("thead th").nth(2).locator("button").press("Enter")  # 19.5k and 77.1k: by value
        counts = [int(cell.get_attribute("data-sort") or 0) for cell in table.locator("tbody td:nth-child(3)").all()]
        assert counts == sorted(counts, reverse=True) and heading.get_attribute("aria-sort") == "none"
        table.locator("thead th").nth(0).locator("button").press("Enter")
        assert table.locator("tbody th").all_inner_texts() == sorted(published)
        visit(page, "records/mnist/cat2/linear_probe")
        train = page.locator("#page table").first.locator("button:text-is('train')")
        train.press("Enter")  # 50 and 100: not as text
        assert texts(page, "#page table >> nth=0 >> tbody td:nth-child(8)") == ["100", "100", "50", "50"]
        visit(page, "")
        empty = page.locator("section#table1 table").first
        for _ in range(2):  # cells for which nothing is planned come last in both orders
            empty.locator("thead th").nth(5).locator("button").press("Enter")
            assert empty.locator("tbody td:nth-child(6)").all_inner_texts()[-1] == "–"


def test_the_tab_key_reaches_everything_and_the_focus_is_seen(chromium: Browser, report: Path) -> None:
    with opened(chromium, report) as page:
        every = page.evaluate(
            "[...document.querySelectorAll('a[href], button, summary, [tabindex=\"0\"]')].filter((e) => e.checkVisibility()).length"
        )
        reached, order = 0, []
        while True:
            page.keyboard.press("Tab")
            where = page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return [e.tagName, e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
            )
            if where[0] == "BODY":
                break
            reached += 1
            order.append(where[1])
            assert where[2] == "solid" and where[3] >= 2, where
        assert reached == every
        assert order[0] == "Skip to the content" and order.index("table1") < order.index("method")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        link = page.locator("section#table2 td a").first
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#page h1")
        assert page.evaluate("document.activeElement.tagName") == "H1"
        page.go_back()
        page.wait_for_selector("#front", state="visible")
        assert page.evaluate("document.activeElement.getAttribute('href')") == link.get_attribute("href")


def test_figures_can_be_made_larger(chromium: Browser, report: Path) -> None:
    with opened(chromium, report, has_touch=True) as page:
        frame = page.locator(".picture").first

        def seen() -> list[float]:
            return [float(part) for part in (frame.locator("> svg").get_attribute("viewBox") or "").split()]

        whole = seen()
        frame.focus()
        page.keyboard.press("+")
        assert seen()[2] == pytest.approx(whole[2] / 1.5)
        before = seen()[0]
        page.keyboard.press("ArrowRight")
        assert seen()[0] > before
        page.keyboard.press("0")
        assert seen() == pytest.approx(whole)
        page.locator("[data-zoom=in]").first.click()
        assert seen()[2] < whole[2]
        page.locator("[data-zoom=out]").first.click()
        assert seen() == pytest.approx(whole)
        frame.hover()
        page.mouse.wheel(0, -100)  # scrolls the page
        assert seen() == pytest.approx(whole)
        page.keyboard.down("Control")
        page.mouse.wheel(0, -100)
        page.keyboard.up("Control")
        page.wait_for_function(f"document.querySelector('.picture > svg').viewBox.baseVal.width < {whole[2]}")
        frame.press("0")
        assert seen() == pytest.approx(whole)
        box = frame.bounding_box()
        assert box is not None
        session = page.context.new_cdp_session(page)
        for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 120)):
            middle = box["x"] + box["width"] / 2, box["y"] + 60
            points = [{"x": middle[0] + side * apart / 2, "y": middle[1], "id": side + 1} for side in (-1, 1)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert seen()[2] == pytest.approx(whole[2] / 3, rel=0.01)


@pytest.mark.parametrize(
    "address", ["", "#records/mnist/cat2/linear_probe", "#records", "#cells/table2/paper/CAT2%5Esub/mnist%205-shot"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_on_a_narrow_window_in_light_and_dark(
    chromium: Browser, report: Path, address: str, scheme: Any
) -> None:
    with opened(chromium, report, address, viewport={"width": 320, "height": 700}, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 320  # tables scroll by themselves
        colours = page.evaluate(
            "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; })()"
        )
        text, back = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert text - back > 500 if scheme == "dark" else back - text > 500
        assert page.locator("h1:visible").count() == 1


def test_what_is_missing_or_damaged_has_no_number(chromium: Browser, tiny: Path, report: Path, tmp_path: Path) -> None:
    """report: made before, so that tiny's own is not in the copy."""
    gone, altered = "records/mnist/erm-s0/linear_probe", "records/mnist/cat2/two_stage"

    def change(content: dict[str, Any], results: Path) -> None:
        (results / f"{gone}.json").unlink()
        text = (results / f"{altered}.json").read_text()
        (results / f"{altered}.json").unlink()
        top1 = re.search(r'"top1": (0\.\d+),\n +"val_top1"', text)
        assert top1 is not None
        (results / f"{altered}.json").write_text(text.replace(top1[1], "0.98765"))

    path = remade(tiny, tmp_path, change)
    assert "98.77" not in path.read_text() and "0.98765" not in path.read_text()
    with opened(chromium, path) as page:
        cells = texts(page, "section#table2 table >> nth=0 >> tr:has(th:text-is('ERM')) td")
        assert cells[3].count("[") == 1 and cells[4:] == ["1/2 current"] * 2
        assert (
            texts(page, "section#table1 table >> nth=0 >> tr:has(th:text-is('CAT2')) td")[4] == "0/1 current, 1 damaged"
        )
        assert "1 damaged, 1 missing" in page.locator("#state + p").inner_text()
        figure = page.locator("section[id='figures/accuracy']")
        assert figure.locator("svg").count() == 0 and "what it was made from is not all current" in figure.inner_text()
        visit(page, gone)
        assert "missing: not made yet" in page.locator("#page .alert").inner_text()
        visit(page, altered)
        assert (
            "damaged: results/tiny/records/mnist/cat2/two_stage.json: altered since"
            in page.locator("#page .alert").inner_text()
        )
        assert page.locator("#page h2:text-is('Accuracies')").count() == 0
        visit(page, "cells/table2/heldout/ERM/mnist%205-shot")
        assert texts(page, "#page tbody tr .state") == ["missing", "current"]


def test_what_is_stale_has_no_number(chromium: Browser, tiny: Path, report: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any], results: Path) -> None:
        for probe in content["probes"].values():
            probe["seed"] = 5

    path = remade(tiny, tmp_path, change)
    old = re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", (tiny / "results/tiny/table2.md").read_text())
    assert old
    with opened(chromium, path) as page:
        text = " ".join(page.locator("section#table2").inner_text().split())
        assert not any(number in text for number in old)
        cells = texts(page, "section#table2 tbody td:nth-child(n+5)")
        assert cells and all(re.fullmatch(r"0/(\d) current, \1 stale", cell) for cell in cells)
        assert (
            page.locator("section#table1 .current").count() == 1 and page.locator("section#table2 .stale").count() == 1
        )
        shown = page.locator("section:has(figure)")  # what networks see of images is no matter of heads
        assert [section.get_attribute("id") for section in shown.all()] == ["figures/similarity"]
        assert "probe.seed: 0 -> 5" in page.locator("#front").text_content()  # type: ignore[operator]
        visit(page, "records/mnist/cat2/linear_probe")
        assert "stale: probe.seed: 0 -> 5" in page.locator("#page .alert").inner_text()
    stale = {name for name, about in contents(path)["artifacts"].items() if about.get("state") == "stale"}
    assert "records/mnist/cat2/ensemble" in stale
    assert not any({"results", "facts", "digest"} & set(contents(path)["artifacts"][name]) for name in stale)


def test_nothing_there_yet(chromium: Browser, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text((tiny / CONFIG).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write(Path("tiny.yaml"))
    with opened(chromium, tmp_path / "results/tiny/report.html") as page:
        assert "0 are current" in page.locator("#state + p").inner_text()
        assert page.evaluate(CRAWL)["broken"] == []


ODD = "<script>document.title = 'run'</script> & \"quotes\" 'é' %41 #1/2 </script> ✓ {{ 7 * 7 }}"


def test_text_of_a_config_is_text(chromium: Browser, tiny: Path, report: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any], results: Path) -> None:
        content["tables"]["table2"]["caption"] = content["figures"]["accuracy"]["caption"] = ODD
        content["tables"]["table2"]["rows"][1]["method"] = ODD

    path = remade(tiny, tmp_path, change)
    with opened(chromium, path) as page:
        assert page.title() == "results/tiny"
        assert page.locator("script:not([type])").count() == 1
        assert page.locator(".lead").inner_text() == "<b>Tiny</b> & so on."
        assert page.locator("section#table2 > p > strong").inner_text() == ODD
        row = page.locator("section#table2 table").first.locator("tbody tr").nth(1)
        assert row.locator("th").inner_text() == ODD
        row.locator("a").first.click()
        assert page.locator("#page h1").inner_text().startswith(ODD)
        assert page.locator("#page tbody tr").count() == 2
        page.reload()
        assert page.locator("#page h1").inner_text().startswith(ODD)


def test_the_way_back_leads_to_where_a_page_was_left(chromium: Browser, report: Path) -> None:
    with opened(chromium, report) as page:
        page.set_viewport_size({"width": 900, "height": 400})
        visit(page, "records")
        page.fill("#only", "cat2 10")
        rows = page.locator("#page tbody tr:visible")
        left = rows.count(), page.locator("#page p [role=status]").inner_text().split()
        assert 0 < left[0] < page.locator("#page tbody tr").count() and left[1][0] == str(left[0])
        rows.first.locator("a").click()
        page.evaluate("scrollTo(0, 500)")
        page.wait_for_timeout(500)  # it is kept when scrolling ends
        page.locator("#page a[href^='#networks/']").first.click()
        assert page.evaluate("scrollY") == 0
        page.go_back()
        page.wait_for_selector("#page h1:has-text('records/')")
        assert page.evaluate("scrollY") == 500
        page.go_back()
        page.wait_for_selector("#only")
        assert (rows.count(), page.input_value("#only")) == (left[0], "cat2 10")


def test_the_skip_link_and_an_address_of_nothing(chromium: Browser, report: Path) -> None:
    with opened(chromium, report) as page:
        visit(page, "records/mnist/cat2/linear_probe")
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        assert page.locator("#page h1").inner_text().startswith("records/mnist/cat2/linear_probe")
        visit(page, "records/mnist/cat3/linear_probe")
        assert "Nothing in this report is called records/mnist/cat3/linear_probe." in page.locator("#page").inner_text()
        assert page.locator("nav a[aria-current]").count() == 0
        visit(page, "targets")
        assert texts(page, "nav a[aria-current]") == ["targets"]


def test_on_paper_it_is_dark_on_white(chromium: Browser, report: Path) -> None:
    """Also of a browser that is dark."""
    with chromium.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(report.as_uri())
        page.emulate_media(media="print", color_scheme="dark")
        style = "(name) => getComputedStyle(document.body)[name]"
        assert [page.evaluate(style, name) for name in ("color", "backgroundColor")] == [
            "rgb(27, 27, 27)",
            "rgb(255, 255, 255)",
        ]
        assert page.locator("header:visible, .tools:visible, summary:visible").count() == 0


def test_a_browser_runs_nothing_but_the_script_of_the_report(chromium: Browser, report: Path, tmp_path: Path) -> None:
    """Also where a file that it holds was made to have a script."""
    bad = "<script>document.title = 'run'</script><img src='x:' onerror='document.title = \"run\"'>"
    path = tmp_path / "report.html"
    path.write_text(report.read_text().replace("</main>", f"{bad}</main>"))
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("fetch('http://localhost:1/').catch(() => 0)")
    assert page.title() == "results/tiny" and page.locator("section#table2 table").count() == 2
    assert [url for url in asked if url.startswith("http")] == []
    page.close()


def test_the_papers_values_stand_beside_ours(chromium: Browser, tmp_path: Path) -> None:
    """Records by hand, of the one table of config.yaml that is small: each top-1 is 75 %."""
    content = yaml.safe_load((CLONE / "config.yaml").read_text())
    content |= {"tables": {"table3": content["tables"]["table3"]}, "figures": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    plan = load_plan(tmp_path / "config.yaml")
    for job in plan.cells(plan.config.tables["table3"]):
        _, target, representation, transfer = job.artifact.split("/")
        results = [
            {"shots": "all", "selection": rule, "selected_on": split, "n_train": 8, "n_val": 8, "n_test": 1000,
             "selected": {"epoch": 1}, "top1": 0.75, "val_top1": None, "grid": None}
            for rule, split in (("heldout", "val"), ("paper", "test"))
        ]  # fmt: skip
        facts = {"target": target, "representation": representation, "members": [], "seeds": [0], "parameters": 10,
                 "feature_dim": 1, "transfer": transfer, "of": None, "results": results}  # fmt: skip
        card = {"artifact": job.artifact, "key": job.key, "stage": job.stage, "settings": job.keyed,
                "code_version": job.code_version, "inputs": [], "digest": "0" * 64, "facts": facts}  # fmt: skip
        path = tmp_path / f"results/{job.artifact}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(card | {"checksum": _checksum(card)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write(Path("config.yaml"))
    layout = plan.table("table3").settings.layout
    with opened(chromium, tmp_path / "results/report.html") as page:
        block = page.locator("section#table3 table").nth(layout["selections"].index("paper"))
        for row, planned in zip(block.locator("tbody tr").all(), layout["rows"], strict=True):
            for shown, paper in zip(row.locator("td:nth-child(n+5)").all(), planned["paper"], strict=True):
                text = shown.inner_text()
                assert ("paper" in text) == (paper is not None)
                if paper is not None:
                    assert f"paper {paper['top1']:.2f}, {75 - paper['top1']:+.2f}" in text
        page.locator("td:has-text('paper') a").first.click()
        assert "ours minus the paper's" in page.locator("#page").inner_text()


def test_a_mistake_ends_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rrl.cli", "report", str(tmp_path / "none.yaml")]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert (
        result.returncode == 1
        and result.stderr == f"Error: {tmp_path}/none.yaml: missing; name the config of an experiment\n"
    )


def test_snakemakes_own_report(chromium: Browser, tiny: Path, tmp_path: Path) -> None:
    """Figures and tables by category, with captions; without a network. It warns of its style sheet on the console."""
    path = tmp_path / "workflow.html"
    snakemake(tiny, options=("--report", str(path)), quiet=False)
    with chromium.new_context(offline=True) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        page.get_by_text("Figures", exact=True).click()
        page.get_by_text("accuracy", exact=True).wait_for()
        assert errors == []
    assert path.read_text().count("leads to its records") == 6  # the caption of each


def test_a_caption_of_a_figure_that_changed_is_not_shown_with_the_old_picture(tiny: Path, report: Path) -> None:
    with edited(tiny / CONFIG, "caption: The tiny experiment", "caption: The tiniest experiment"):
        subprocess.run([sys.executable, "-m", "rrl.cli", "report", CONFIG], cwd=tiny, check=True)
        text = report.read_text()
    subprocess.run([sys.executable, "-m", "rrl.cli", "report", CONFIG], cwd=tiny, check=True)
    assert "<figure>" not in text and "stale: layout.caption: " in text and "<figure>" in report.read_text()

"""How `make docs` builds the pages of this folder, which are Markdown that reads as plain files too."""

import re
import sys
from pathlib import Path
from typing import Any

CLONE = Path(__file__).parent.parent
ROOT = ("readme", "contributing", "changelog")
CODE = re.compile(r"^(`{3,}).*?^\1$|`[^`\n]+`", flags=re.MULTILINE | re.DOTALL)  # blocks, and words in a line
SPACE = "\N{NO-BREAK SPACE}"
sys.path.insert(0, str(CLONE))

project = "rrl"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # links to headings, as on GitHub
default_role = "code"  # `x` in a docstring
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|np|npt|nn|h5py|pathlib|collections)\..*|Tensor|Features|Trunk|Path|Sequence|Any")
]
html_theme = "furo"
html_title = "rrl"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False
highlight_language = "text"
smartquotes = False


def paragraphs(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """A line of a docstring that tells of an argument, or of what is raised, begins a paragraph."""
    text = "\n".join(lines)
    text = re.sub(r"(?m)^((?:\w+, )*\w+) : ", r"\n**\1**: ", text)
    lines[:] = re.sub(r"(?m)^Raises (\w+)", r"\n**Raises** \1", text).split("\n")


def of_the_root(app: Any, name: str, source: list[str]) -> None:
    """README.md, CONTRIBUTING.md and CHANGELOG.md are pages too, in place of those that only link to them."""
    if name in ROOT:
        text = (CLONE / f"{name.upper()}.md").read_text(encoding="utf-8")
        source[0] = re.sub(r"\]\((?!https?:|#)", "](../", text).replace("](../docs/", "](")
    for page in ROOT:
        source[0] = source[0].replace(f"](../{page.upper()}.md", f"]({page}.md")


def titles_as_links(app: Any, name: str, source: list[str]) -> None:
    """A link whose text is the name of a page gets the title of that page, or of the heading that it goes to."""
    source[0] = re.sub(r"\[(?:docs/)?(\w[\w-]*)\.md\]\(((?i:\1)\.md(?:#[\w-]+)?)\)", r"[](\2)", source[0])


def numbers_stay_whole(app: Any, name: str, source: list[str]) -> None:
    """No line ends within `90.8 ± 0.6`, `[90.0, 91.6]` or `5 seeds` of a table."""
    parts = CODE.split(source[0])
    codes = [match[0] for match in CODE.finditer(source[0])]
    texts = [_joined(text) for text in parts[::2]]
    source[0] = "".join(text + code for text, code in zip(texts, [*codes, ""], strict=True))


def _joined(text: str) -> str:
    text = re.sub(r" ± (?=\d)", f"{SPACE}±{SPACE}", text)
    text = re.sub(r"\[([-+−]?[\d.]+), ([-+−]?[\d.]+)\](?!\()", rf"[\1,{SPACE}\2]", text)
    return re.sub(r"(\d+) (seeds?|(?:independent )?windows?)(?= *\|)", rf"\1{SPACE}\2", text)


def setup(app: Any) -> None:
    app.connect("source-read", of_the_root)
    app.connect("source-read", titles_as_links)
    app.connect("source-read", numbers_stay_whole)
    app.connect("autodoc-process-docstring", paragraphs)

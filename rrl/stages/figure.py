"""Stage `figure`: one declared figure, as SVG and PNG. Each kind of figure has a module of its own, and draws what it
is given: records or similarities, by name and never searched for. The numbers drawn are in the card.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from rrl.command import Command, run
from rrl.figures import gains as gains_figure
from rrl.figures import networks as networks_figure
from rrl.figures import parameters as parameters_figure
from rrl.figures import similarity as similarity_figure
from rrl.figures.drawing import save
from rrl.store.files import sha256_of_file

KINDS = {
    "parameters": parameters_figure.draw,
    "networks": networks_figure.draw,
    "gains": gains_figure.draw,
    "similarity": similarity_figure.draw,
}


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("figure", __doc__)
    command.card("--records", "the records of all points", many=True)
    command.card("--similarities", "the similarities of all panels", many=True)
    command.setting("--layout", json.loads, "JSON: kind, caption, and what the kind's module draws")
    command.place("--svg", Path, "picture to write; a PNG is written beside it")
    command.place("--output", Path, "card to write")
    arguments, job = command.parse(argv)

    cards = [*arguments.records, *arguments.similarities]
    picture, points = KINDS[arguments.layout["kind"]](arguments.layout, cards)
    save(picture, arguments.svg)
    facts = {"records": {card.artifact: sha256_of_file(card.path) for card in cards}, "points": points}
    job.write_card(arguments.output, f"figures/{arguments.svg.stem}", sha256_of_file(arguments.svg), facts)


if __name__ == "__main__":
    run(main)

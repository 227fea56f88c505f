"""Stage `figure`: one declared figure, as SVG and PNG. Each kind of figure has a module of its own, and draws what it
is given: records or similarities, by name and never searched for. The numbers drawn are in the card.
"""

from collections.abc import Sequence

from rrl.figures import gains as gains_figure
from rrl.figures import networks as networks_figure
from rrl.figures import parameters as parameters_figure
from rrl.figures import similarity as similarity_figure
from rrl.figures.drawing import save
from rrl.job import begin, run
from rrl.store.files import sha256_of_file

KINDS = {
    "parameters": parameters_figure.draw,
    "networks": networks_figure.draw,
    "gains": gains_figure.draw,
    "similarity": similarity_figure.draw,
}


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("figure", argv, __doc__)
    layout, drawing = job.settings.layout, job.output.with_suffix(".svg")
    picture, points = KINDS[layout["kind"]](layout, job.inputs)
    save(picture, drawing)
    facts = {"records": {card.artifact: sha256_of_file(card.path) for card in job.inputs}, "points": points}
    job.write_card(sha256_of_file(drawing), facts)


if __name__ == "__main__":
    run(main)

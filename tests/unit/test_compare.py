"""`rrl compare`: words to networks, configs, messages."""

from pathlib import Path

import pytest

from rrl.cli.compare_config import experiment, name_of, understand
from rrl.config.load import load_config
from rrl.errors import UserError
from tests.helpers.comparisons import network, pictures, rrl


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("resnet50.a1_in1k", "resnet50_a1_in1k"), ("checkpoint_run0", "checkpoint_run0"), ("2x net (old)", "n2x_net__old"),
        ("a--b-", "a-b"), ("Größe", "gr__e"), ("", "n"), ("-s0", "s0"),
    ],
)  # fmt: skip
def test_any_text_becomes_a_name_that_a_config_allows(text: str, name: str) -> None:
    assert name_of(text) == name


def test_words_are_networks(tmp_path: Path) -> None:
    a, b = network(tmp_path / "run 0.safetensors", 0), network(tmp_path / "run.pth.tar.safetensors", 1)
    of = understand([str(a), f"resnet8={b}", "timm/resnet18.a1_in1k", "torchvision/resnet18"], [])
    assert [(n.label, n.name, n.arch) for n in of] == [
        ("run 0", "run_0", "resnet8"), ("run.pth.tar", "run_pth_tar", "resnet8"),
        ("resnet18.a1_in1k", "resnet18_a1_in1k", "timm/resnet18.a1_in1k"), ("resnet18", "resnet18", "torchvision/resnet18"),
    ]  # fmt: skip
    assert [n.transform["size"] for n in of] == [28, 28, 224, 224]
    assert [n.transform["mean"] for n in of[:1]] == [[0.286]]
    assert [n.transform["interpolation"] for n in of[2:]] == ["bicubic", "bilinear"]
    (first, second) = understand([str(a), str(b)], [(str(b), "size=32,resize=40,mean=0.5,interpolation=bicubic")])
    assert first.transform["size"] == 28
    assert second.transform | {"size": 32, "resize": 40, "mean": [0.5], "interpolation": "bicubic"} == second.transform


@pytest.mark.parametrize(
    ("words", "preprocess", "message"),
    [
        (["A"], [], "one network: name two or more"),
        (["A", "nothing.pth"], [], "nothing.pth: missing; must be timm/<name>"),
        (["A", "resnet51=B.safetensors"], [], "found 'resnet51'; must be one of resnet8"),
        (["A", "A"], [], "A.safetensors: named twice"),
        (["A", "timm/no_such"], [], "timm/no_such: timm .* has no such model"),
        (["A", "torchvision/no_such"], [], "no_such"),
        (["A", "B"], [("C", "size=3")], "--preprocess: found 'C'; .*must be one of: "),
        (["A", "B"], [("B", "width=3")], "--preprocess .*: found 'width'; .*must be one of: size, resize"),
        (["A", "B"], [("B", "size=big")], "size: found 'big'; must be numbers"),
        (["A", "B"], [("B", "size=32")], "resize: found 28, less than the crop.s size; must be at least 32"),
        (["A", "B"], [("B", "mean=0.1/0.2/0.3")], "std: found 1 numbers for 3 of mean"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], preprocess: list[tuple[str, str]], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("AB"):
        network(tmp_path / f"{name}.safetensors", seed)
    names = {"A": "A.safetensors", "B": "B.safetensors"}
    with pytest.raises(UserError, match=message):
        understand([names.get(word, word) for word in words], [(names.get(of, of), how) for of, how in preprocess])


def test_the_config_is_a_config(tmp_path: Path) -> None:
    """As strict as any, and the same each time."""
    networks = [str(network(tmp_path / f"{name}.safetensors", 0)) for name in "ab"]
    data = pictures(tmp_path / "my pictures")
    first, second = (
        experiment(understand(networks, []), str(data), Path("data"), Path("results/x"), leave_out=False)
        for _ in range(2)
    )
    assert first == second
    config = load_config(first, [])
    assert list(config.targets) == ["my_pictures"] and config.data == str(tmp_path)
    assert [row.method for row in config.tables["comparison"].rows] == ["a", "b", "CAT2", "CAT2", "best subset on val"]


def test_fingerprints_are_what_configs_hold(tmp_path: Path) -> None:
    file, data = network(tmp_path / "a.safetensors", 0), pictures(tmp_path / "pets")
    content = experiment(
        understand([str(file), str(network(tmp_path / "b.safetensors", 1))], []),
        str(data),
        Path("data"),
        Path("out"),
        False,
    )
    found = rrl(tmp_path, "fingerprint", file).stdout, rrl(tmp_path, "fingerprint", "pets").stdout
    assert found == (
        f"sha256: {content['networks']['a']['files'][0]['sha256']}\n",
        f"fingerprint: {content['targets']['pets']['fingerprint']}\n",
    )
    assert "missing; it must be a folder" in rrl(tmp_path, "fingerprint", "nothing").stderr

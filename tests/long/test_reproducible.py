"""The same experiment makes the same bytes."""

from pathlib import Path

from tests.helpers.clones import copy_clone, snakemake


def test_records_are_byte_identical_in_another_folder_and_under_another_hash_seed(tiny: Path, tmp_path: Path) -> None:
    other = copy_clone(tmp_path / "another place")
    snakemake(other, PYTHONHASHSEED="2")
    root = tiny / "results/tiny"
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(other / "results/tiny") for path in (other / "results/tiny").rglob("*") if path.is_file()
    )
    differing = [
        str(file)
        for file in files
        if not file.name.endswith((".run.json", ".log"))
        and (root / file).read_bytes() != (other / "results/tiny" / file).read_bytes()
    ]
    assert differing == []

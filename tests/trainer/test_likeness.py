"""What a cosine says, against the line that made the pairs."""

import json

import numpy as np
import pytest

from trainer.__main__ import main
from trainer.likeness import fit_likeness


def people(count: int, noise: float, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(count), 4)
    looks = rng.normal(size=(count, 64))[ids] + noise * rng.normal(size=(len(ids), 64))
    return {
        "embedding": looks.astype(np.float32),
        "ids": ids,
        "cameras": np.tile(np.arange(4), count),
    }


def test_the_even_point_and_slope_are_those_of_the_two_normal_distributions():
    """Equal widths s and means a, b: even at (a + b) / 2, slope (a − b) / s² (textbook discriminant)."""
    made = people(60, noise=1.0)
    found = fit_likeness(made["embedding"], made["ids"], made["cameras"])
    unit = made["embedding"] / np.linalg.norm(made["embedding"], axis=1, keepdims=True)
    cosines, same = unit @ unit.T, made["ids"][:, None] == made["ids"][None]
    apart = made["cameras"][:, None] != made["cameras"][None]
    yes, no = cosines[same & apart], cosines[~same & apart]
    middle = (yes.mean() + no.mean()) / 2
    slope = (yes.mean() - no.mean()) / ((yes.var() + no.var()) / 2)
    assert found.even == pytest.approx(middle, abs=0.04)
    assert found.slope == pytest.approx(slope, rel=0.3)


def test_it_is_written_for_a_package_and_too_few_people_are_said(tmp_path, capsys):
    np.savez(tmp_path / "v.npz", **people(30, noise=1.0))
    assert main(["likeness", str(tmp_path / "v.npz"), "-o", str(tmp_path / "likeness.json")]) == 0
    fitted = json.loads((tmp_path / "likeness.json").read_text())
    assert set(fitted) == {"even", "slope"}
    words = [
        "likeness",
        str(tmp_path / "v.npz"),
        "-o",
        str(tmp_path / "chosen.json"),
        *("--even", "0.6", "--young", "0.1"),
    ]
    assert main(words) == 0
    assert json.loads((tmp_path / "chosen.json").read_text()) == fitted | {
        "even": 0.6,
        "young": 0.1,
    }
    np.savez(tmp_path / "few.npz", **people(1, noise=1.0))
    assert main(["likeness", str(tmp_path / "few.npz"), "-o", str(tmp_path / "no.json")]) == 2
    assert "too few" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"embedding": np.full((120, 64), np.nan)}, "not finite"),
        ({"embedding": np.zeros((120, 64))}, "not finite, or zero"),
        ({"ids": np.arange(7)}, "shapes do not fit"),
        ({"embedding": np.ones(120)}, "shapes do not fit"),
        ({"embedding": np.full((120, 64), "x")}, "holds no vectors of `embed`, but <U1"),
        (None, "holds no vectors"),
    ],
)
def test_vectors_that_say_nothing_are_refused(tmp_path, capsys, broken, told):
    path = tmp_path / "v.npz"
    if broken is None:
        path.touch()
    else:
        np.savez(path, **people(30, noise=1.0) | broken)
    assert main(["likeness", str(path), "-o", str(tmp_path / "likeness.json")]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert not (tmp_path / "likeness.json").exists()


def test_a_fit_that_cannot_be_is_not_written(tmp_path, capsys):
    """Where cameras turn everything round, more alike means less one person."""
    made = people(30, noise=0.5)
    turned = made["embedding"] * (-1.0) ** made["cameras"][:, None]
    np.savez(tmp_path / "v.npz", **made | {"embedding": turned})
    command = ["likeness", str(tmp_path / "v.npz"), "-o"]
    assert main([*command, str(tmp_path / "l.json")]) == 2
    assert "does not say what a cosine is worth" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "v.npz"), "--slope", "20"]) == 2
    assert "holds the vectors: choose another file" in capsys.readouterr().err
    assert not (tmp_path / "l.json").exists()

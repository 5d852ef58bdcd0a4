"""Sections are replaced; everything else stays to the letter."""

import tomllib

import pytest

from calibration.toml_text import has_sections, replaced

TEXT = '''# my site
[[camera]]
address = "a.mp4"   # hall

# measured by Ann
[[ground]]
camera = "a"
view = [
    [1.5, 2],
    [3, 4], # ]
]

# skewed
[[ground]]
note = """
[[ground]]
"""

# ask Bo
[[camera]]
address = "b # [ground]"

[calibration.ground]
amount = "1"
[calibration.ground.evidence]
points = 3

# lens cleaned
[embedder]
slots = 64
'''


def test_remarks_and_other_sections_stay_as_they_are():
    text = replaced(TEXT, ("ground",), '[[ground]]\ncamera = "c"\n')
    text = replaced(text, ("calibration", "ground"), '[calibration.ground]\namount = "2"\n')
    assert (
        text
        == """# my site
[[camera]]
address = "a.mp4"   # hall

# measured by Ann
[[ground]]
camera = "c"

# skewed

# ask Bo
[[camera]]
address = "b # [ground]"

[calibration.ground]
amount = "2"

# lens cleaned
[embedder]
slots = 64
"""
    )


def test_a_new_section_comes_last_and_one_that_goes_takes_nothing_along():
    assert (
        replaced(TEXT, ("travel",), "[[travel]]\nmedian = 3\n")
        == TEXT + "\n[[travel]]\nmedian = 3\n"
    )
    gone = replaced(TEXT, ("ground",), "")
    assert "ground" not in tomllib.loads(gone)
    assert len(tomllib.loads(gone)["camera"]) == 2
    for remark in ("# measured by Ann", "# skewed", "# ask Bo"):
        assert f"{remark}\n" in gone
    assert replaced("a = 1", ("b",), "[b]\nc = 2") == "a = 1\n\n[b]\nc = 2\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[a]]\n", True),
        ("[ 'a' . b ] # c\n", True),
        ('["a"]\n', True),
        ("[b]\nx = [\n[1],\n['a'],\n]\n", False),
        ("b = '''\n[a]\n'''\n", False),
        ('b = "\\"[a]"\n[c] # [a]\n', False),
        ("a = {x = 1}\n", False),
        ("b = 'x\u2028y'\n[c]\n[a]", True),
    ],
)
def test_headers_are_told_from_values(text, found):
    assert has_sections(text, ("a",)) is found

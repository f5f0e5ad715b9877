"""The chat template that a family's models ship, as the library holds it."""
import pathlib

MODEL = pathlib.Path(__file__).resolve().parents[2] / "include" / "lamina" / "model"


def released_template(family: str) -> str:
    """family: a folder of include/lamina/model."""
    header = (MODEL / family / "released_template.hpp").read_text(encoding="utf-8")
    return header.split('R"jinja(')[1].split(')jinja"')[0]

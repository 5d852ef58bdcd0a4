"""Take in networks that others made: detectors and image re-ID networks, as ONNX or OpenVINO IR.

Their graphs want normalised floating-point pictures, each in its own way. Adopted, they take pictures as every
other engine here does, uint8 (B, H, W, 3) BGR, and do the rest inside.
"""

from dataclasses import dataclass
from pathlib import Path

import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from engines.errors import PackageError
from engines.openvino import read
from engines.package import Head, Kind

SUFFIXES = (".onnx", ".xml")
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a network expects of its pixels: (pixel − mean) / deviation, in its order of colours."""

    rgb: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


AS_THEY_ARE = Normalisation()
UNIT_RGB = Normalisation(rgb=True, deviation=(255.0, 255.0, 255.0))
IMAGENET = Normalisation(rgb=True, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
NORMALISATIONS = {"as-it-is": AS_THEY_ARE, "unit-rgb": UNIT_RGB, "imagenet": IMAGENET}


@dataclass(frozen=True, slots=True)
class Adopted:
    """A foreign graph and what was found out about it."""

    path: Path
    kind: Kind
    head: Head | None
    input_name: str
    output_name: str
    size: tuple[int, int]
    any_batch: bool
    normalisation: Normalisation

    @property
    def picture_input(self) -> str:
        """What its input is called once adopted."""
        return "images" if self.kind is Kind.DETECTOR else "crops"

    @property
    def answer_output(self) -> str:
        """What its output is called once adopted."""
        return "predictions" if self.kind is Kind.DETECTOR else "embedding"


def adopt(path: Path, normalisation: Normalisation | None = None) -> Adopted:
    """Find out what a foreign graph is from the shapes of its only input and its first output.

    `normalisation` defaults to what networks of its sort are made with: YOLOX and OpenVINO's own take pixels as
    they are, Ultralytics RGB in 0…1, other re-ID networks ImageNet's.
    """
    if not path.is_file():
        raise PackageError(f"there is no network {path}")
    model = read(path)
    picture, answer = model.inputs[0], model.outputs[0]
    shape = (
        [_size(d) for d in picture.get_partial_shape()]
        if picture.get_partial_shape().rank.is_static
        else []
    )
    if len(model.inputs) != 1 or len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < 1:
        raise PackageError(
            f"{path} must take one picture (batch, 3, height, width) of a fixed size, but takes "
            + "; ".join(f"{i.get_any_name()} {i.get_partial_shape()}" for i in model.inputs)
        )
    height, width = shape[2:]
    out = [_size(d) for d in answer.get_partial_shape()]
    head = _head(out, height, width)
    if head is None and not (len(out) == 2 or (len(out) == 4 and out[2:] == [1, 1])):
        raise PackageError(
            f"{path} answers {answer.get_partial_shape()}, which is neither a detector's head nor an embedding"
        )
    if normalisation is None:
        by_head = {Head.YOLOX: AS_THEY_ARE, Head.ULTRALYTICS: UNIT_RGB, Head.END_TO_END: UNIT_RGB}
        normalisation = (
            by_head[head] if head else AS_THEY_ARE if path.suffix == ".xml" else IMAGENET
        )
    return Adopted(
        path=path,
        kind=Kind.DETECTOR if head else Kind.FRAME_EMBEDDER,
        head=head,
        input_name=picture.get_any_name(),
        output_name=answer.get_any_name(),
        size=(height, width),
        any_batch=_takes_any_batch(model, picture, answer),
        normalisation=normalisation,
    )


def openvino_model(adopted: Adopted) -> ov.Model:
    """The graph with its pictures normalised inside, for OpenVINO."""
    model = read(adopted.path)
    picture = model.inputs[0]
    if adopted.any_batch:
        model.reshape({picture: [-1, 3, *adopted.size]})
    steps = PrePostProcessor(model)
    steps.input(0).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input(0).tensor().set_color_format(ColorFormat.BGR)
    steps.input(0).model().set_layout(ov.Layout("NCHW"))
    inside = steps.input(0).preprocess().convert_element_type(ov.Type.f32)
    if adopted.normalisation.rgb:
        inside.convert_color(ColorFormat.RGB)
    inside.mean(list(adopted.normalisation.mean)).scale(list(adopted.normalisation.deviation))
    steps.output(0).tensor().set_element_type(ov.Type.f32)
    model = steps.build()
    model.inputs[0].set_names({adopted.picture_input})
    model.outputs[0].set_names({adopted.answer_output})
    if len(model.outputs) > 1:
        model = ov.Model([model.outputs[0]], model.get_parameters(), adopted.path.stem)
    return model


def _head(out: list[int], height: int, width: int) -> Head | None:
    """Which head answers in this shape, if any does."""
    if len(out) != 3:
        return None
    cells = sum(-(-height // s) * -(-width // s) for s in (8, 16, 32))
    if out[2] == 6 and out[1] != cells:
        return Head.END_TO_END
    if out[1] == cells and out[2] > 5:
        return Head.YOLOX
    if out[2] == cells and out[1] > 4:
        return Head.ULTRALYTICS
    return None


def _takes_any_batch(model: ov.Model, picture: ov.Output, answer: ov.Output) -> bool:
    """Try it: graphs with a batch of one often hide that one in a reshape."""
    try:
        model.reshape({picture: [3, 3, *[_size(d) for d in picture.get_partial_shape()][2:]]})
        return _size(model.outputs[0].get_partial_shape()[0]) == 3
    except RuntimeError:
        return False


def _size(dimension: ov.Dimension) -> int:
    return int(dimension.get_length()) if dimension.is_static else -1

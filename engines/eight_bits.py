"""Networks in eight bits on CPUs, made of a float graph when it is opened.

All that this needs beside the graph is between which values its products' inputs lie: a few numbers, so that one
package computes in floating point where a CPU is good at that, and in eight bits where it is better at those.

What lies between the first product and the last ones is rounded. The first one is cheap, and its input is the picture;
what the last ones say is the answer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray

from engines.engine import Array
from engines.errors import PackageError
from engines.package import RANGES

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""Least and greatest of each value, by its name."""

_PRODUCTS = ("Convolution", "GroupConvolution")
_STEPS = 255
"""Between the least and the greatest value that eight bits tell apart."""
_KEPT = 4000
"""Values kept of each picture to choose a range by."""
_SHARES = np.linspace(0.15, 1.0, 35)
"""Of the greatest value, where a range may end."""
_LOPSIDED = 0.25
"""What goes no further below zero than this share of what is above has a range of its own shape."""


def inputs_of_products(model: ov.Model) -> dict[str, list[ov.Node]]:
    """Values that are to be rounded, by name, each with the products that take them."""
    made, order = _made_by_products(model), model.get_ordered_ops()
    hidden = {
        node.get_friendly_name() for node in order if _is_product(node) and _first(node) in made
    } & _needed_by_products(order)
    found: dict[str, list[ov.Node]] = {}
    for node in order:
        if node.get_friendly_name() in hidden:
            found.setdefault(_name(node.input(0).get_source_output()), []).append(node)
    return found


def in_eight_bits(model: ov.Model, ranges: Ranges, whose: Path | str = "a model") -> None:
    """Round what `ranges` name, and the weights of the products that take it. Changes the model."""
    found = inputs_of_products(model)
    if set(ranges) != set(found):
        raise PackageError(
            f"{RANGES} of {whose} are of another graph: measure them anew with `python -m calibration ranges`"
        )
    for name, products in found.items():
        rounded = _rounded(products[0].input(0).get_source_output(), *ranges[name])
        for product in products:
            product.input(0).replace_source_output(rounded)
            product.input(1).replace_source_output(_rounded_weights(product))
    model.validate_nodes_and_infer_types()


def measure(model: ov.Model, pictures: Iterable[Array]) -> dict[str, tuple[float, float]]:
    """Between which values the inputs of products lie, over pictures (H, W, 3). Changes the model."""
    found = inputs_of_products(model)
    names = list(found)
    model.add_outputs([products[0].input(0).get_source_output() for products in found.values()])
    shape = [size.get_length() for size in model.inputs[0].get_partial_shape()[1:]]
    model.reshape({model.inputs[0]: [1, *shape]})
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(model, "CPU", exact).create_infer_request()
    first = len(model.outputs) - len(names)
    rng = np.random.default_rng(0)
    kept: list[list[NDArray[np.float32]]] = [[] for _ in names]
    ends = np.zeros((len(names), 2))
    for picture in pictures:
        request.infer([picture[None]])
        for i in range(len(names)):
            values = request.get_output_tensor(first + i).data.ravel()
            ends[i] = min(ends[i, 0], values.min()), max(ends[i, 1], values.max())
            kept[i].append(values[rng.integers(0, values.size, _KEPT)])
    return {
        name: best_range(np.concatenate(some), *map(float, end))
        for name, some, end in zip(names, kept, ends, strict=True)
    }


def best_range(values: NDArray[np.float32], least: float, greatest: float) -> tuple[float, float]:
    """The range for which values, rounded and cut to it, are least wrong; zero is one of its steps."""
    least, greatest = min(least, 0.0), max(greatest, 1e-6)
    candidates = [_with_zero(least, greatest, share) for share in _SHARES]
    least, greatest = min(candidates, key=lambda ends: _error(values, *ends))
    return float(least), float(greatest)


def read_ranges(folder: Path) -> Ranges:
    """What `as_text` says, from beside a plan."""
    try:
        raw = json.loads((folder / RANGES).read_text())
        return {str(name): (float(least), float(most)) for name, (least, most) in raw.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise PackageError(f"{folder / RANGES} cannot be read: {error}") from error


def as_text(ranges: Ranges) -> str:
    """As JSON, a line each."""
    rows = (f"{json.dumps(name)}: {json.dumps(ends)}" for name, ends in ranges.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _is_product(node: ov.Node) -> bool:
    """With weights and more than one output: such as a detector's mean over distances is none."""
    if node.get_type_name() not in _PRODUCTS or _weights(node) is None:
        return False
    outputs = node.get_output_partial_shape(0)[1]
    return bool(outputs.is_static and outputs.get_length() > 1)


def _weights(product: ov.Node) -> ov.Node | None:
    """The constant behind its second input, if it is one in whatever form."""
    node = product.input(1).get_source_output().get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input(0).get_source_output().get_node()
    return node if node.get_type_name() == "Constant" else None


def _made_by_products(model: ov.Model) -> set[str]:
    """Nodes that some product has a part in."""
    made: set[str] = set()
    for node in model.get_ordered_ops():
        if _is_product(node) or any(
            source.get_friendly_name() in made for source in _sources(node)
        ):
            made.add(node.get_friendly_name())
    return made


def _needed_by_products(order: Sequence[ov.Node]) -> set[str]:
    """Nodes that have a part in some product."""
    needed: set[str] = set()
    for node in reversed(order):
        if _is_product(node) or node.get_friendly_name() in needed:
            needed.update(source.get_friendly_name() for source in _sources(node))
    return needed


def _sources(node: ov.Node) -> Iterator[ov.Node]:
    for port in node.inputs():
        yield port.get_source_output().get_node()


def _first(product: ov.Node) -> str:
    return str(product.input(0).get_source_output().get_node().get_friendly_name())


def _name(value: ov.Output) -> str:
    return f"{value.get_node().get_friendly_name()}:{value.get_index()}"


def _with_zero(least: float, greatest: float, share: float) -> tuple[float, float]:
    """A range of so much of the greatest value. What is padded around pictures is zero, and must stay so."""
    top = greatest * share
    if -least > _LOPSIDED * greatest:
        top = max(top, -least * share)
        return -top * (_STEPS + 1) / (_STEPS - 1), top
    step = (top - least) / _STEPS
    below = round(-least / step)
    return -below * step, (_STEPS - below) * step


def _error(values: NDArray[np.float32], least: float, most: float) -> float:
    step = (most - least) / _STEPS
    rounded = np.clip(np.rint((values - least) / step), 0, _STEPS) * step + least
    return float(np.square(rounded - values).mean())


def _rounded(value: ov.Output, least: float, most: float) -> ov.Output:
    ends = np.float32(least), np.float32(most)
    return ops.fake_quantize(value, *ends, *ends, _STEPS + 1).output(0)


def _rounded_weights(product: ov.Node) -> ov.Output:
    """Evenly around zero, by a step of its own for each output."""
    constant = _weights(product)
    assert constant is not None
    shape = list(product.input(1).get_source_output().get_shape())
    weights = constant.get_data().astype(np.float32).reshape(shape)
    groups = 2 if product.get_type_name() == "GroupConvolution" else 1
    inner = tuple(range(groups, len(shape)))
    most = np.maximum(np.abs(weights).max(axis=inner, keepdims=True), 1e-8)
    return ops.fake_quantize(ops.constant(weights), -most, most, -most, most, _STEPS).output(0)

"""Writes what the real TensorRT bindings offer as a type stub, from what they say of themselves.

Run with the bindings on the path: `python write_tensorrt_stub.py > tensorrt.pyi`. pybind11 puts the
signature of every method and property into its docstring; nothing here is known beforehand, but how
three types convert from Python's own.
"""

import ast
import re
import sys

import tensorrt_bindings as trt

CONVERTED = {"Dims": "Dims | Sequence[int]", "buffer": "bytes | IHostMemory"}
"""What an argument of that type takes besides: the bindings convert it."""
PLAIN = {"int", "float", "str", "bool", "None", "object", "bytes", "list", "tuple", "dict", "numpy"}
SIGNATURE = re.compile(r"^(?:\d+\. )?(?P<name>\w+)?\((?P<arguments>.*)\) -> (?P<answer>.+?)\s*$")


def main() -> None:
    lines = ["from typing import Any, ClassVar, Sequence, overload", "__version__: str"]
    for name, value in vars(trt).items():
        if isinstance(value, type) and value.__module__.startswith("tensorrt"):
            lines += class_lines(name, value)
        elif callable(value) and not name.startswith("_") and not isinstance(value, type):
            lines += [f"def {name}(*arguments: Any) -> Any: ..."]
    sys.stdout.write("\n".join(lines) + "\n")


def class_lines(name: str, kind: type) -> list[str]:
    bases = [base.__name__ for base in kind.__bases__ if base.__module__.startswith("tensorrt")]
    lines = [f"class {name}({', '.join(bases)}):"]
    for member, value in vars(kind).items():
        if isinstance(value, kind):
            lines += [f"{member}: ClassVar[{kind.__qualname__}]"]
        elif isinstance(value, type):
            lines += class_lines(member, value)
        elif isinstance(value, property) or type(value).__name__ == "pybind11_static_property":
            lines += property_lines(member, value)
        elif callable(value) and (not member.startswith("__") or member in KEPT):
            lines += method_lines(member, value)
    if hasattr(kind, "__getitem__") and hasattr(kind, "__len__"):
        lines += ["def __iter__(self) -> Any: ..."]
    if "buffer protocol" in (kind.__doc__ or "") or name == "IHostMemory":
        lines += ["def __buffer__(self, flags: int, /) -> memoryview: ..."]
    return lines[:1] + ["    " + line for line in lines[1:] or ["pass"]]


KEPT = {"__init__", "__int__", "__getitem__", "__len__", "__bool__"}


def property_lines(name: str, value: property) -> list[str]:
    found = SIGNATURE.match((value.fget.__doc__ or "").strip()) if value.fget else None
    answer = python_type(found["answer"]) if found else "Any"
    lines = ["@property", f"def {name}(self) -> {answer}: ..."]
    if value.fset:
        lines += [
            f"@{name}.setter",
            f"def {name}(self, value: {CONVERTED.get(answer, answer)}) -> None: ...",
        ]
    return lines


def method_lines(name: str, value: object) -> list[str]:
    found = [SIGNATURE.match(line) for line in (value.__doc__ or "").splitlines()]
    forms = [
        f"def {name}({arguments(f['arguments'])}) -> {python_type(f['answer'])}: ..."
        for f in found
        if f and f["name"] == name
    ]
    if not forms or not all(map(is_python, forms)):
        return [f"def {name}(self, *arguments: Any, **named: Any) -> Any: ..."]
    return forms if len(forms) == 1 else [line for form in forms for line in ("@overload", form)]


def is_python(line: str) -> bool:
    """Some methods of plugins have arguments as Python cannot: `in`, or defaults in between."""
    try:
        ast.parse(line)
    except SyntaxError:
        return False
    return True


def arguments(text: str) -> str:
    """`self: A, name: T = <default>` into Python's own form."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([<") - (letter in ")]>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    written = []
    for part in parts:
        name, _, rest = part.strip().partition(": ")
        kind, has_default, default = rest.partition(" = ")
        if name == "/":
            continue
        if name == "self" or not written:
            written.append("self")
            continue
        answer = python_type(kind)
        answer = CONVERTED.get(answer, answer)
        answer += " | None" if default == "None" else ""
        written.append(f"{name}: {answer}" + (" = ..." if has_default else ""))
    return ", ".join(written)


def python_type(text: str) -> str:
    """A type as the docstring has it, C++ names included, as the stub's name; Any where unknown."""
    text = re.sub(r"tensorrt_bindings\.tensorrt\.|nvinfer1::|nvonnxparser::", "", text.strip())
    text = text.replace("::", ".").replace("typing_extensions.Buffer", "buffer")
    text = text.replace("typing.SupportsInt", "int").replace("typing.SupportsFloat", "float")
    inner = re.fullmatch(r"[Ll]ist\[(.+)\]", text)
    if inner:
        return f"list[{python_type(inner[1])}]"
    if text == "buffer" or text in PLAIN or known(text):
        return text
    return text.removeprefix("I") if known(text.removeprefix("I")) else "Any"


def known(path: str) -> bool:
    value: object = trt
    for part in path.split("."):
        value = getattr(value, part, None)
    return isinstance(value, type)


if __name__ == "__main__":
    main()

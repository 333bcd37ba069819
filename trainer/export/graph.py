"""ONNX graphs, written as expressions that read like NumPy's.

    graph = Graph()
    pcm = graph.input("pcm", np.float32, ["samples"])
    loudest = pcm.abs().reduce("Max")
    model = graph.model({"loudest": (loudest, [])}, metadata={})

Every operator is one of the standard, of OPSET. This module does no input or output.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Old enough for any runtime in use.
OPSET, IR_VERSION = 18, 8
BEFORE_FIRST, AFTER_LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max

Operand: TypeAlias = "Value | np.ndarray | float"
Shape: TypeAlias = Sequence[str | int] | None  # a name stands for any length, None for any shape


class Graph:
    """The nodes and constants so far. The names in a graph within another one begin with `prefix`."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
        self._inputs: list[Any] = []

    def input(self, name: str, dtype: np.dtype | type[np.generic], shape: Shape) -> "Value":
        """Add an input of the graph."""
        value = Value(self, self._prefix + name, np.dtype(dtype))
        self._inputs.append(value.described(value.name, shape))
        return value

    def constant(self, values: np.ndarray) -> "Value":
        """Add a constant. Equal ones are stored once."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            name = f"{self._prefix}constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return Value(self, self._constants[key].name, values.dtype)

    def add(
        self, operator: str, inputs: Sequence[Operand], attributes: Mapping[str, Any], outputs: int = 1
    ) -> list[str]:
        """Add a node, and return the names of its outputs. Numbers get the type of the first value."""
        typed = next(each.dtype for each in inputs if isinstance(each, Value))
        names = [self._operand(each, typed).name for each in inputs]
        results = [f"{self._prefix}value_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operator, names, results, **attributes))
        return results

    def _operand(self, operand: Operand, dtype: np.dtype) -> "Value":
        if isinstance(operand, Value):
            return operand
        return self.constant(operand if isinstance(operand, np.ndarray) else np.array(operand, dtype))

    def rows(self, body: Callable[..., "Value"], *arrays: "Value") -> "Value":
        """Apply `body` to the rows of the arrays, one after the other. Its results are the rows returned."""
        inner = Graph(f"{self._prefix}row_{len(self._nodes)}_")
        result = body(*(inner.input(f"input_{n}", array.dtype, None) for n, array in enumerate(arrays)))
        graph = inner._proto({result.name: (result, None)})
        attributes = {"body": graph, "num_scan_inputs": len(arrays)}
        return Value(self, self.add("Scan", arrays, attributes)[0], result.dtype)

    def model(self, outputs: Mapping[str, tuple["Value", Shape]], metadata: Mapping[str, str]) -> bytes:
        """Return the checked model with these outputs, each with its shape."""
        for name, (value, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value.name], [name]))
        model = helper.make_model(
            self._proto(outputs),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="earmark",
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        serialized: bytes = model.SerializeToString(deterministic=True)
        return serialized

    def _proto(self, outputs: Mapping[str, tuple["Value", Shape]]) -> Any:
        described = [value.described(name, shape) for name, (value, shape) in outputs.items()]
        constants = list(self._constants.values())
        return helper.make_graph(self._nodes, "earmark", self._inputs, described, initializer=constants)


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """An array of the graph. Its methods add the nodes that compute another one from it."""

    graph: Graph
    name: str
    dtype: np.dtype

    def described(self, name: str, shape: Shape) -> Any:
        """Describe an input or output of the graph."""
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(self.dtype), shape)

    def op(self, operator: str, *inputs: Operand, **attributes: Any) -> "Value":
        """Add a node whose first input is this value, and whose output has its type."""
        return Value(self.graph, self.graph.add(operator, (self, *inputs), attributes)[0], self.dtype)

    def typed(self, dtype: type[np.generic]) -> "Value":
        """Say that the node that computes this value gives another type than its first input has."""
        return Value(self.graph, self.name, np.dtype(dtype))

    def __add__(self, other: Operand) -> "Value":
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> "Value":
        return self.op("Sub", other)

    def __rsub__(self, other: float) -> "Value":
        return self.graph.constant(np.array(other, self.dtype)) - self

    def __mul__(self, other: Operand) -> "Value":
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> "Value":
        """Divide. The quotient of integers is rounded towards 0."""
        return self.op("Div", other)

    def __rtruediv__(self, other: float) -> "Value":
        return self.graph.constant(np.array(other, self.dtype)) / self

    def __matmul__(self, other: Operand) -> "Value":
        return self.op("MatMul", other)

    def __neg__(self) -> "Value":
        return self.op("Neg")

    def __and__(self, other: Operand) -> "Value":
        return self.op("And", other)

    def compared(self, how: str, other: Operand) -> "Value":
        """Compare; `how` is Equal, Greater, GreaterOrEqual, Less or LessOrEqual."""
        return self.op(how, other).typed(np.bool)

    def where(self, if_true: Operand, if_false: Operand) -> "Value":
        """Choose float32 values where this boolean one is true and where it is not."""
        chosen = [
            each if isinstance(each, Value) else np.array(each, np.float32) for each in (if_true, if_false)
        ]
        return self.op("Where", *chosen).typed(np.float32)

    def log(self) -> "Value":
        return self.op("Log")

    def sqrt(self) -> "Value":
        return self.op("Sqrt")

    def abs(self) -> "Value":
        return self.op("Abs")

    def cast(self, dtype: type[np.generic]) -> "Value":
        return self.op("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))).typed(dtype)

    def clip(self, low: Operand, high: Operand) -> "Value":
        """Limit to at least `low` and at most `high`."""
        return self.op("Max", low).op("Min", high)

    def reduce(self, how: str, axis: int = -1, *, keep: bool = False) -> "Value":
        """Reduce an axis; `how` is Max, Min, Mean or Sum."""
        return self.op(f"Reduce{how}", np.array([axis]), keepdims=int(keep))

    def length(self, axis: int = 0) -> "Value":
        """Return the length of an axis, a scalar int64."""
        return self.op("Shape").typed(np.int64).take(np.array(axis))

    def range(self) -> "Value":
        """Return the numbers from 0 up to this one, a scalar int64, which is not among them."""
        first, step = (self.graph.constant(np.array(number)) for number in (0, 1))
        return first.op("Range", self, step)

    def reshape(self, *shape: int) -> "Value":
        return self.op("Reshape", np.array(shape))

    def new_axis(self, *axes: int) -> "Value":
        return self.op("Unsqueeze", np.array(axes))

    def without_axis(self, *axes: int) -> "Value":
        return self.op("Squeeze", np.array(axes))

    def transpose(self, *axes: int) -> "Value":
        return self.op("Transpose", perm=axes)

    def join(self, *others: "Value", axis: int) -> "Value":
        """Concatenate."""
        return self.op("Concat", *others, axis=axis)

    def take(self, places: Operand, axis: int = 0) -> "Value":
        """Take these places, an array of them, of an axis."""
        return self.op("Gather", places, axis=axis)

    def cut(self, start: int, end: "Value | int" = AFTER_LAST, axis: int = 0, step: int = 1) -> "Value":
        """Slice one axis as Python does."""
        last = end.reshape(1) if isinstance(end, Value) else np.array([end])
        return self.op("Slice", np.array([start]), last, np.array([axis]), np.array([step]))

    def reversed(self, axis: int) -> "Value":
        return self.cut(-1, BEFORE_FIRST, axis, step=-1)

    def pad(self, before: int, after: "Value | int", axis: int = 0, mode: str = "constant") -> "Value":
        """Pad one axis with zeros, or with its first and last values if `mode` is "edge"."""
        amounts: Operand = np.array([before, after])
        if isinstance(after, Value):
            amounts = self.graph.constant(np.array([before])).join(after.reshape(1), axis=0)
        return self.op("Pad", amounts, np.zeros((), self.dtype), np.array([axis]), mode=mode)

    def windows(self, width: int, starts: "Value") -> "Value":
        """Return (starts, width): what begins at each of `starts` of this value (n,)."""
        return self.take(starts.new_axis(1) + np.arange(width))

    def sliding(self, width: int) -> "Value":
        """Return every window (n - width + 1, width) of this value (n,)."""
        return self.windows(width, (self.length() - (width - 1)).range())

    def largest(self, number: int) -> "Value":
        """Return the `number`-th largest value, from 1, along the last axis."""
        values, _ = self.graph.add("TopK", (self, np.array([number])), {"axis": -1}, outputs=2)
        return Value(self.graph, values, self.dtype).cut(number - 1, axis=-1).without_axis(-1)

    def repeated(self, times: int, length: "Value") -> "Value":
        """Repeat each row `times` times, and cut the result to `length` rows."""
        return self.take(length.range() / times)

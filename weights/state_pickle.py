"""Reader of the pickle inside a `.pt` file, which never runs anything that the pickle names.

A pickle is a program: Python's unpickler calls whatever it names. This one supports only the
opcodes that `torch.save` writes for a state dict, builds dicts, lists, tuples, strings and numbers,
and turns the three calls that belong to tensors into plain records. It touches no tensor data.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from weights.errors import WeightsError
from weights.mapped_file import BFLOAT16

_STORAGE_DTYPES: Mapping[str, str] = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_ORDERED_DICT = "collections.OrderedDict"
_REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
_ALLOWED = {_ORDERED_DICT, _REBUILD_TENSOR, _REBUILD_PARAMETER} | {
    f"torch.{storage}" for storage in _STORAGE_DTYPES
}


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """The pickle is not one that `torch.save` writes."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of numbers in the archive's member `data/<key>`."""

    dtype: str
    key: str
    n_numbers: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage; offset and strides count numbers, as PyTorch's do."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    """A name the pickle mentions; it is compared, never imported."""

    name: str


def read_state(program: bytes) -> object:
    """Reads a pickle written by `torch.save` into plain values and `StoredTensor`s.

    Raises:
        WeightsError: It names anything but tensors and their containers, or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(program):
            _HANDLERS[opcode.name](machine, argument)
        return machine.pop()
    except KeyError as error:
        raise WeightsError(
            f"its table of tensors has the pickle opcode {error}, which torch.save never writes "
            "for a state dict; it is not opened"
        ) from error
    except (_Malformed, ValueError, IndexError) as error:
        raise WeightsError(f"its table of tensors is damaged: {str(error)[:100]}") from error


class _Machine:
    """The pickle machine's stack, marks and memo."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        return self.stack.pop()

    def pop_many(self, count: int) -> list[object]:
        if count > len(self.stack):
            raise _Malformed("stack underflow")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_to_mark(self) -> list[object]:
        return self.pop_many(len(self.stack) - self.marks.pop())

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise _Malformed("reference to nothing")
        self.push(self.memo[index])

    def append(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise _Malformed("items appended to no list")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise _Malformed("items set in no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise _Malformed("a key that is no name")
            target[key] = value

    def find_global(self, name: str) -> None:
        if name not in _ALLOWED:
            raise WeightsError(
                f"it wants to run {name[:80]}, so it holds more than weights and is not opened; "
                "save the state dict alone: torch.save(model.state_dict(), path)"
            )
        self.push(_Global(name))

    def stack_global(self) -> None:
        module, name = self.pop_many(2)
        self.find_global(f"{module}.{name}" if isinstance(module, str) else "something unnamed")

    def reduce(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise _Malformed("a call of no function")
        if function.name == _ORDERED_DICT and not arguments:
            self.push({})
        elif function.name == _REBUILD_TENSOR:
            self.push(_tensor(arguments))
        elif function.name == _REBUILD_PARAMETER and isinstance(arguments[0], StoredTensor):
            self.push(arguments[0])
        else:
            raise _Malformed(f"an unusual call of {function.name}")

    def build(self) -> None:
        """Drops the attributes that PyTorch adds to a state dict (`_metadata`)."""
        target, _ = self.pop_many(2)
        if not isinstance(target, dict):
            raise _Malformed("attributes of no dict")
        self.push(target)

    def find_storage(self) -> None:
        match self.pop():
            case ("storage", _Global(name=name), str(key), str(), int(n_numbers)):
                dtype = _STORAGE_DTYPES.get(name.removeprefix("torch."))
            case _:
                dtype = None
        if dtype is None or n_numbers < 0:
            raise _Malformed("an unusual storage")
        self.push(Storage(dtype, key, n_numbers))


def _tensor(arguments: tuple[object, ...]) -> StoredTensor:
    """Returns the tensor, which must lie within its storage and have no more numbers than it."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
            tensor = StoredTensor(storage, offset, _counts(shape), _counts(strides))
        case _:
            raise _Malformed("an unusual tensor")
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 8:
        raise _Malformed("a tensor whose strides do not fit its shape")
    n_numbers = 1
    for size in tensor.shape:
        n_numbers *= size
    last = offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if n_numbers and not (0 <= offset <= last < storage.n_numbers >= n_numbers):
        raise _Malformed("a tensor larger than its storage")
    return tensor


def _counts(values: tuple[object, ...]) -> tuple[int, ...]:
    counts = tuple(value for value in values if isinstance(value, int) and value >= 0)
    if len(counts) != len(values):
        raise _Malformed("a size that is no count")
    return counts


_HANDLERS: Mapping[str, Callable[[_Machine, object], None]] = {
    "PROTO": lambda _machine, _: None,
    "FRAME": lambda _machine, _: None,
    "STOP": lambda _machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    **dict.fromkeys(
        ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        lambda machine, value: machine.push(value),
    ),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "APPEND": lambda machine, _: machine.append(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "BINPUT": lambda machine, index: machine.put(int(str(index))),
    "LONG_BINPUT": lambda machine, index: machine.put(int(str(index))),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": lambda machine, index: machine.get(int(str(index))),
    "LONG_BINGET": lambda machine, index: machine.get(int(str(index))),
    "GLOBAL": lambda machine, name: machine.find_global(str(name).replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.find_storage(),
}

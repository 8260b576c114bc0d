"""A pickle interpreter that cannot run code, since it never imports, calls or instantiates anything that a file names.

`pickle.Unpickler` with a `find_class` of one's own would still allocate whatever size a file claims (BINBYTES8,
LONG_BINPUT). Here the standard library's `pickletools.genops` takes the stream apart, each opcode is one entry in a
table, and every name, call and persistent id is handed to the caller, who admits what he knows.
"""

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

_MAX_OPCODES = 5_000_000  # a network of 10,000 tensors needs 400,000

# Opcodes whose argument is the value.
_VALUES = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "SHORT_BINSTRING", "BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
))  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}


class Hooks(NamedTuple):
    """What a caller admits. Each raises ValueError for the rest.

    Attributes:
        name: "module.name" -> the value to put in its place.
        call: (callee, tuple of arguments) -> result of the call.
        build: (object, state) -> None; sets the state of an object, or ignores it.
        persistent: persistent id -> what it stands for.
    """

    name: Callable[[str], Any]
    call: Callable[[Any, tuple], Any]
    build: Callable[[Any, Any], None]
    persistent: Callable[[Any], Any]


def _refuse(*_: Any) -> Any:
    raise ValueError("it holds something else than plain values where they belong")


PLAIN = Hooks(_refuse, _refuse, _refuse, _refuse)


def load(stream: BinaryIO, hooks: Hooks) -> Any:
    """Interpret one pickle; the stream is left behind its end. Containers may contain themselves.

    Args:
        stream: bytes in memory (`io.BytesIO`): a file would allocate what a damaged length asks for.
        hooks: what to do with names, calls, states and persistent ids.

    Raises:
        ValueError: the pickle is damaged or contains what is not admitted.
    """
    machine = _Machine(hooks)
    try:
        _run(machine, stream)
    except IndexError:  # pop from an empty stack
        raise _damaged() from None
    if len(machine.stack) != 1:
        raise _damaged()
    return machine.stack[0]


def _run(machine: "_Machine", stream: BinaryIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # genops decodes texts of protocol 0, with warnings, before they are refused
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            machine.step(opcode.name, argument)
            if count > _MAX_OPCODES:
                raise ValueError("its pickle is absurdly long")


def put(target: dict, key: Any, value: Any) -> None:
    """`target[key] = value` for the keys that a file of weights can have."""
    if not isinstance(key, str | int | float | None):
        raise ValueError(f"it holds a dictionary with a {type(key).__name__} for a key")
    target[key] = value


def _damaged() -> ValueError:
    return ValueError("its pickle is damaged")


class _Machine:
    """The pickle virtual machine: a stack, the marks on it, and the memo."""

    def __init__(self, hooks: Hooks):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.hooks = hooks

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in ("PROTO", "FRAME", "STOP"):
            pass
        else:
            handler = getattr(self, "op_" + opcode.lower(), None)
            if handler is None:
                raise ValueError(f"its pickle uses {opcode}, which no file of weights needs")
            handler(argument)

    def pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def op_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def op_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.pop_mark()))

    def op_tuple1(self, _: None) -> None:
        self.stack.append((self.stack.pop(),))

    def op_tuple2(self, _: None) -> None:
        second, first = self.stack.pop(), self.stack.pop()
        self.stack.append((first, second))

    def op_tuple3(self, _: None) -> None:
        third, second, first = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append((first, second, third))

    def op_append(self, _: None) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def op_appends(self, _: None) -> None:
        values = self.pop_mark()
        self._top(list).extend(values)

    def op_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        put(self._top(dict), key, value)

    def op_setitems(self, _: None) -> None:
        items = self.pop_mark()
        target = self._top(dict)
        if len(items) % 2:
            raise _damaged()
        for key, value in zip(items[::2], items[1::2], strict=True):
            put(target, key, value)

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise _damaged()
        return self.stack[-1]

    def op_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_long_binput = op_binput

    def op_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binget(self, index: int) -> None:
        if index not in self.memo:
            raise _damaged()
        self.stack.append(self.memo[index])

    op_long_binget = op_binget

    def op_global(self, names: str) -> None:
        self.stack.append(self.hooks.name(names.replace(" ", ".")))

    def op_stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.hooks.name(f"{module}.{name}"))

    def op_reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise _damaged()
        self.stack.append(self.hooks.call(callee, arguments))

    def op_build(self, _: None) -> None:
        state = self.stack.pop()
        self.hooks.build(self.stack[-1], state)

    def op_binpersid(self, _: None) -> None:
        self.stack.append(self.hooks.persistent(self.stack.pop()))

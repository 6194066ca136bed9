"""An array of the host launcher's "device": a strict stand-in for cupy.ndarray.

What CuPy refuses is refused here too: NumPy arrays as operands, conversion without `.get()`. What
would break the capture of a CUDA graph raises while one is recorded. So code that runs with these
arrays uses nothing that CuPy lacks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .capture import capturing, forbid, perform
from .functions import COMPUTING, FACTS, VIEWING
from .memory import Extent, address_of, extent_of

Scalar = (bool, int, float, complex, np.generic)


class Memory(NamedTuple):
    """Where an array lies, under CuPy's name for it."""

    ptr: int


def unwrap(value: Any) -> Any:
    """The NumPy array inside a device array, also in lists and tuples of them."""
    if isinstance(value, DeviceArray):
        return value._a
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(item) for item in value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def wrap(value: Any) -> Any:
    """Results as device arrays: numbers become arrays without axes, as in CuPy."""
    if isinstance(value, (list, tuple)):
        return type(value)(wrap(item) for item in value)
    if isinstance(value, (np.ndarray, *Scalar)):
        return DeviceArray(np.asarray(value))
    return value


def operand(value: Any) -> Any:
    """An operand of arithmetic: a device array or a number, nothing else."""
    if isinstance(value, DeviceArray):
        return value._a
    if isinstance(value, Scalar) or value is None:
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def index(value: Any) -> Any:
    """An index for NumPy that always gives an array, a view if it can be one."""
    parts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(part, (np.ndarray, list)) for part in parts):
        raise TypeError("an index is made of integers, slices and device arrays")
    plain = tuple(unwrap(part) for part in parts)
    return plain if any(part is Ellipsis for part in plain) else (*plain, Ellipsis)


def selects(value: Any) -> bool:
    """Whether an index picks elements by an array of places or truths."""
    parts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, DeviceArray) for part in parts)


def quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call without warnings of overflow and the like: a GPU has none."""
    with np.errstate(all="ignore"):
        return function(*args, **kwargs)


def method(name: str) -> Callable[..., Any]:
    """The method of an array that NumPy has as a function, too."""

    def called(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return call(getattr(np, name), self, *args, **kwargs)

    called.__name__ = name
    return called


class DeviceArray(NDArrayOperatorsMixin):
    """See the module's text. `_a` is the NumPy array behind it, for the launcher alone."""

    __slots__ = ("__weakref__", "_a", "_extent")
    _a: np.ndarray
    _extent: Extent | None

    def __init__(self, array: np.ndarray) -> None:
        self._a = array

    # what an array is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._a.shape

    @property
    def dtype(self) -> np.dtype:
        return self._a.dtype

    @property
    def size(self) -> int:
        return self._a.size

    @property
    def nbytes(self) -> int:
        return self._a.nbytes

    @property
    def ndim(self) -> int:
        return self._a.ndim

    @property
    def itemsize(self) -> int:
        return self._a.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._a.strides

    @property
    def flags(self) -> Any:
        return self._a.flags

    @property
    def data(self) -> Memory:
        return Memory(self.address)

    @property
    def address(self) -> int:
        """Where the first element lies."""
        return address_of(self._a)

    @property
    def extent(self) -> Extent | None:
        """What a kernel may be given; worked out once, as launches ask for it each time."""
        try:
            return self._extent
        except AttributeError:
            self._extent = extent_of(self._a)
            return self._extent

    def __len__(self) -> int:
        return len(self._a)

    def __repr__(self) -> str:
        return f"DeviceArray({self._a!r})" if not capturing() else "DeviceArray(...)"

    # views

    def __getitem__(self, key: Any) -> DeviceArray:
        if selects(key):
            forbid("picking elements")
        return DeviceArray(self._a[index(key)])

    def __iter__(self) -> Iterator[DeviceArray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def _view(self, array: np.ndarray, what: str) -> DeviceArray:
        """`array`, made from this one; it must not be a copy while a capture runs."""
        if capturing() and array.size and not np.may_share_memory(array, self._a):
            forbid(f"{what} that copies")
        return DeviceArray(array)

    def reshape(self, *shape: Any) -> DeviceArray:
        return self._view(self._a.reshape(*shape), "reshape")

    def ravel(self) -> DeviceArray:
        return self._view(self._a.ravel(), "ravel")

    def transpose(self, *axes: Any) -> DeviceArray:
        return DeviceArray(self._a.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        return DeviceArray(self._a.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        return DeviceArray(self._a.squeeze(axis))

    def view(self, dtype: Any = None) -> DeviceArray:
        return DeviceArray(self._a.view(dtype) if dtype is not None else self._a.view())

    @property
    def T(self) -> DeviceArray:  # noqa: N802 - the name is NumPy's
        return DeviceArray(self._a.T)

    # to and from the host

    def get(self) -> np.ndarray:
        """A copy of the values as a NumPy array."""
        forbid("get()")
        return self._a.copy()

    def set(self, host: np.ndarray) -> None:
        """Overwrite the values by those of a NumPy array of the same shape and dtype."""
        forbid("set()")
        if not isinstance(host, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to a device array")
        if host.dtype != self.dtype:
            raise TypeError(f"{host.dtype} array cannot be set to {self.dtype} array")
        if host.shape != self.shape:
            raise ValueError(f"Shape mismatch. {host.shape} cannot be set to {self.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        self._a[...] = host

    def item(self, *place: int) -> Any:
        forbid("reading a number from the device")
        return self._a.item(*place)

    def tolist(self) -> Any:
        forbid("tolist()")
        return self._a.tolist()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def _number(self) -> Any:
        if self.size != 1:
            raise TypeError("only arrays of one element can be converted to a Python scalar")
        return self.item()

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __index__(self) -> int:
        return operator.index(self._number())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("the truth value of an array with several elements is ambiguous")
        return bool(self.item())

    # writing

    def fill(self, value: Any) -> None:
        number = operand(value)
        perform(lambda: quietly(self._a.fill, number))

    def __setitem__(self, key: Any, value: Any) -> None:
        if selects(key):
            forbid("writing picked elements")
        place, given = index(key), operand(value)
        perform(lambda: quietly(self._a.__setitem__, place, given))

    # new arrays

    def copy(self) -> DeviceArray:
        forbid("copy()")
        return DeviceArray(self._a.copy())

    def flatten(self) -> DeviceArray:
        forbid("flatten()")
        return DeviceArray(self._a.flatten())

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        forbid("astype()")
        return DeviceArray(quietly(self._a.astype, dtype))

    sum = method("sum")
    prod = method("prod")
    mean = method("mean")
    std = method("std")
    var = method("var")
    max = method("max")
    min = method("min")
    argmax = method("argmax")
    argmin = method("argmin")
    argsort = method("argsort")
    all = method("all")
    any = method("any")
    clip = method("clip")
    cumsum = method("cumsum")
    dot = method("dot")
    repeat = method("repeat")
    take = method("take")

    # NumPy's functions

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if method not in ("__call__", "reduce", "accumulate"):
            raise TypeError(f"numpy.{ufunc.__name__}.{method} is not available on device arrays")
        operands = [operand(value) for value in inputs]
        options = {name: option(value) for name, value in kwargs.items()}
        function = getattr(ufunc, method)
        if out is None:
            forbid(f"numpy.{ufunc.__name__} without out=")
            return wrap(quietly(function, *operands, **options))
        return into(function, out, *operands, **options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        for kind in types:
            if not issubclass(kind, DeviceArray):
                raise TypeError(f"Unsupported type {kind}")
        if func is np.copyto:
            return copyto(*args, **kwargs)
        if func in FACTS:
            return func(*unwrap(args), **kwargs)
        if func not in COMPUTING:
            name = f"{func.__module__}.{func.__name__}"
            raise TypeError(f"{name} is not available on device arrays")
        return call(func, *args, **kwargs)


def option(value: Any) -> Any:
    """A keyword of a ufunc: an array (`where`), or an option (`axis`, `dtype`)."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return unwrap(value)


def into(function: Callable[..., Any], out: Any, *operands: Any, **options: Any) -> Any:
    """Let `function` write its result into `out`, now or when the capture is replayed."""
    targets = out if isinstance(out, tuple) else (out,)
    for target in targets:
        if not isinstance(target, DeviceArray):
            raise TypeError(f"Unsupported type {type(target)} of out=")
    single = len(targets) == 1
    plain = targets[0]._a if single else unwrap(targets)
    perform(lambda: quietly(function, *operands, out=plain, **options))
    return targets[0] if single else targets


def call(function: Callable[..., Any], *args: Any, out: Any = None, **kwargs: Any) -> Any:
    """Call a NumPy function on device arrays."""
    operands = unwrap(args)
    options = {name: unwrap(value) for name, value in kwargs.items()}
    if out is not None:
        return into(function, out, *operands, **options)
    if function not in VIEWING:
        forbid(f"numpy.{function.__name__} without out=")
    return wrap(quietly(function, *operands, **options))


def copyto(target: Any, source: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """numpy.copyto among device arrays."""
    if not isinstance(target, DeviceArray):
        raise TypeError(f"Unsupported type {type(target)}")
    given, mask = operand(source), operand(where)
    perform(lambda: np.copyto(target._a, given, casting=casting, where=mask))

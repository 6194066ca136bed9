"""DeviceArray is as strict as cupy.ndarray, so what runs with it asks nothing that CuPy lacks."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
from weightspace.kernels.cuda_host import DeviceArray, HostDevice
from weightspace.kernels.errors import SettingError, UnknownNameError

f4 = np.float32


@pytest.fixture
def device() -> HostDevice:
    return HostDevice("fast", 0)


@pytest.fixture
def x(device) -> DeviceArray:
    return device.put(np.arange(12, dtype=f4).reshape(3, 4))


# ---- making and reading ----


def test_an_allocation_is_not_zeroed(device):
    assert np.isnan(device.empty((2, 3), f4).get()).all()
    assert (device.empty(5, np.int32).get() == -1).all()
    assert not device.zeros(3, f4).get().any()
    assert (device.full((2, 2), 7, np.int64).get() == 7).all()
    assert device.empty((0, 3), f4).shape == (0, 3)


def test_allocations_are_aligned_and_apart(device):
    arrays = [device.empty(n, f4) for n in (1, 3, 100)]
    assert all(device.address(array) % 256 == 0 for array in arrays)
    assert device.put(np.ones(3, f4)).data.ptr % 256 == 0
    places = sorted((device.address(array), array.nbytes) for array in arrays)
    for (address, size), (following, _) in itertools.pairwise(places):
        assert following - (address + size) >= 256


def test_put_copies_and_get_copies(device):
    host = np.arange(6, dtype=f4).reshape(2, 3)
    there = device.put(host.T)
    assert there.flags.c_contiguous and device.owns(there) and not device.owns(host)
    host[:] = 0
    back = device.get(there)
    assert type(back) is np.ndarray and back[2, 1] == 5
    back[:] = 0
    assert float(there[2, 1]) == 5
    assert device.put(there) is there
    assert device.put(there.T).flags.c_contiguous


def test_attributes(x):
    assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes) == ((3, 4), 2, 12, 4, 48)
    assert (x.dtype, x.strides, len(x)) == (np.dtype(f4), (16, 4), 3)
    assert x.flags.c_contiguous and not x.T.flags.c_contiguous
    assert x[1].data.ptr == x.data.ptr + 16


# ---- views ----


def test_views_share_their_memory(x):
    x[1:, ::2].fill(-1)
    x.T[0] = 9
    x.reshape(-1)[1] = 8
    x.ravel()[3] = 7
    x[0, 2][...] = 6
    x.transpose(1, 0)[3, 1] = 5
    x[None, ..., 1, 3] = 4
    np.testing.assert_array_equal(x.get(), [[9, 8, 6, 7], [9, 5, -1, 4], [9, 9, -1, 11]])


def test_one_element_is_an_array_without_axes(x):
    one = x[1, 2]
    assert isinstance(one, DeviceArray) and one.shape == ()
    x[1, 2] = 50
    assert float(one) == 50


def test_iteration_gives_device_arrays(x):
    assert [float(row.sum()) for row in x] == [6, 22, 38]
    with pytest.raises(TypeError):
        iter(x[0, 0])


def test_picking_by_device_arrays(device, x):
    rows = device.put(np.array([2, 0]))
    np.testing.assert_array_equal(x[rows].get(), x.get()[[2, 0]])
    np.testing.assert_array_equal(x[x > 9].get(), [10, 11])
    x[x > 9] = 0
    assert float(x.max()) == 9
    for wrong in (np.array([2, 0]), [2, 0]):
        with pytest.raises(TypeError):
            x[wrong]
        with pytest.raises(TypeError):
            x[wrong] = 1


# ---- the host is refused ----


@pytest.mark.parametrize(
    "use",
    [
        lambda x, host: x + host,
        lambda x, host: host + x,
        np.add,
        lambda x, host: np.add(x, x, out=host),
        lambda x, host: np.add(host, host, out=x),
        lambda x, host: x.__iadd__(host),
        lambda x, host: x.__setitem__(0, host[0]),
        np.copyto,
        lambda x, host: np.copyto(host, x),
        lambda x, host: np.concatenate([x, host]),
        lambda x, host: np.where(x > 0, host, x),
        lambda x, host: np.take(x, np.array([0])),
        lambda x, host: x.dot(host.T),
        lambda x, host: x * [1.0, 2.0, 3.0, 4.0],
        lambda x, host: x.fill(host),
        lambda x, host: np.sum(x, out=host),
    ],
)
def test_numpy_arrays_are_refused(x, use):
    with pytest.raises(TypeError):
        use(x, np.ones((3, 4), f4))


def test_no_silent_copy_to_the_host(x):
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.ones((3, 4), f4)[:] = x
    for convert in (float, int, bool):
        with pytest.raises((TypeError, ValueError)):
            convert(x)


def test_functions_that_cupy_lacks_are_refused(x):
    with pytest.raises(TypeError, match="apply_along_axis is not available"):
        np.apply_along_axis(len, 0, x)
    with pytest.raises(TypeError, match="outer is not available"):
        np.add.outer(x, x)


def test_numbers_come_out_on_request(x):
    one = x[2, 3]
    assert (float(one), int(one), one.item(), bool(one)) == (11.0, 11, 11.0, True)
    assert x.item(1, 1) == 5.0 and x[0].tolist() == [0, 1, 2, 3]
    assert list(range(5))[HostDevice().put(np.array(3))] == 3


def test_set_overwrites(device, x):
    x.set(np.ones((3, 4), f4))
    assert float(x.sum()) == 12
    with pytest.raises(TypeError):
        x.set(np.ones((3, 4)))
    with pytest.raises(TypeError):
        x.set(x)
    with pytest.raises(ValueError, match="Shape"):
        x.set(np.ones(12, f4))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x[:, :2].set(np.ones((3, 2), f4))


# ---- arithmetic ----


def test_arithmetic_stays_on_the_device(x):
    host = x.get()
    y = 2 * x + f4(1) - x / 4 ** np.abs(-x) % 3
    assert isinstance(y, DeviceArray)
    np.testing.assert_array_equal(y.get(), 2 * host + f4(1) - host / 4 ** np.abs(-host) % 3)
    assert y.dtype == f4
    np.testing.assert_array_equal((x @ x.T).get(), host @ host.T)
    np.testing.assert_array_equal((x == 3).get(), host == 3)
    y = x
    y += 1
    y *= x
    assert y is x
    np.testing.assert_array_equal(x.get(), (host + 1) ** 2)


def test_ufuncs_with_out_reduce_and_accumulate(device, x):
    host, y = x.get(), device.empty((3, 4), f4)
    assert np.exp(x, out=y) is y
    np.testing.assert_allclose(y.get(), np.exp(host), rtol=1e-6)
    np.testing.assert_array_equal(np.add.reduce(x, axis=1).get(), host.sum(1))
    np.testing.assert_array_equal(device.get(np.maximum.accumulate(x, axis=0)), host)
    quotient, rest = np.divmod(x, 5)
    np.testing.assert_array_equal((5 * quotient + rest).get(), host)
    assert np.isfinite(x).dtype == bool


def test_a_gpu_warns_of_nothing(x):
    x[0] = 0
    assert np.isinf((1 / x)[0].get()).all()


def test_reductions_give_arrays_without_axes(x):
    host = x.get()
    for name in ("sum", "mean", "max", "min", "argmax", "argmin", "all", "any", "std", "var"):
        whole, rows = getattr(x, name)(), getattr(x, name)(axis=1)
        assert isinstance(whole, DeviceArray) and whole.shape == ()
        np.testing.assert_allclose(whole.get(), getattr(host, name)(), rtol=1e-6)
        np.testing.assert_allclose(rows.get(), getattr(host, name)(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(getattr(np, name)(x, axis=0).get(), getattr(x, name)(0).get())


def test_functions(device, x):
    host, get = x.get(), device.get
    np.testing.assert_array_equal(get(np.concatenate([x, x], 1)), np.concatenate([host, host], 1))
    np.testing.assert_array_equal(get(np.stack([x, x])), np.stack([host, host]))
    np.testing.assert_array_equal(get(np.where(x > 3, x, 0)), np.where(host > 3, host, 0))
    np.testing.assert_array_equal(np.clip(x, 2, 5).get(), np.clip(host, 2, 5))
    np.testing.assert_array_equal(x.clip(2, 5).get(), np.clip(host, 2, 5))
    np.testing.assert_array_equal(np.einsum("ij,kj->ik", x, x).get(), host @ host.T)
    np.testing.assert_array_equal(get(np.sort(-x.ravel())), np.sort(-host.ravel()))
    np.testing.assert_array_equal(np.moveaxis(x, 0, 1).get(), host.T)
    np.testing.assert_array_equal(get(np.flatnonzero(x > 9)), [10, 11])
    np.testing.assert_array_equal(get(np.broadcast_to(x[0], (2, 4))), host[[0, 0]])
    np.testing.assert_allclose(get(np.linalg.norm(x)), np.linalg.norm(host), rtol=1e-6)
    np.testing.assert_allclose(np.vdot(x, x).get(), np.vdot(host, host))
    assert bool(np.array_equal(x, x.copy())) and not bool(np.array_equal(x, -x))
    assert (np.ndim(x), np.shape(x), np.result_type(x, f4)) == (2, (3, 4), np.dtype(f4))
    for make in (np.zeros_like, np.ones_like, np.empty_like):
        assert isinstance(make(x), DeviceArray)
    picked = np.take(x, device.put(np.array([3, 0])), axis=1)
    np.testing.assert_array_equal(picked.get(), host[:, [3, 0]])
    y = np.full_like(x, 3)
    np.copyto(y, x, where=x > 5)
    np.testing.assert_array_equal(y.get(), np.where(host > 5, host, 3))
    assert x.astype(np.int32).dtype == np.int32 and x.astype(f4, copy=False) is x


def test_arrays_are_freed(device):
    """As a GPU's memory must be: nothing keeps an array that nobody holds."""
    array = device.empty(10, f4)
    memory = weakref.ref(array)
    del array
    gc.collect()
    assert memory() is None


# ---- settings ----


def test_settings_from_the_environment(monkeypatch):
    monkeypatch.setenv("WEIGHTSPACE_CUDA_HOST", "check")
    monkeypatch.setenv("WEIGHTSPACE_CUDA_ORDER", "3")
    assert (HostDevice().mode, HostDevice().order) == ("check", 3)
    assert (HostDevice("fast").mode, HostDevice(order=1).order) == ("fast", 1)
    monkeypatch.setenv("WEIGHTSPACE_CUDA_HOST", "chekc")
    with pytest.raises(UnknownNameError, match="Did you mean 'check'"):
        HostDevice()
    monkeypatch.setenv("WEIGHTSPACE_CUDA_HOST", "fast")
    monkeypatch.setenv("WEIGHTSPACE_CUDA_ORDER", "reverse")
    with pytest.raises(SettingError):
        HostDevice()

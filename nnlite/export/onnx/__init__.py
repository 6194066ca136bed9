"""ONNX: a network as a model file that other software runs, and such files as networks.

`write` puts layers down as nodes, `quantise` their weights and activations in 8 bits, `check` asks
onnx and onnxruntime; `file` reads what is in a model file and trusts none of it, `operators` says
what its nodes are here, `read` puts them together. A new layer is a case in `write`, a new operator
a rule in `operators`.
"""

from .check import check_onnx
from .quantise import write_int8
from .read import Imported, read_onnx
from .write import write_onnx

__all__ = ["Imported", "check_onnx", "read_onnx", "write_int8", "write_onnx"]

#!/usr/bin/env bash
# onnx's shape inference counts a pooling window that begins beyond the image; who runs it does not.
#
# onnx 1.23.2, onnxruntime 1.32.0: MaxPool and AveragePool with ceil_mode=1, kernel 1 x 1, strides 2 x 2,
# of an image of 2 x 2: the second window would begin at row 2, where there is none.
#
# Expected: one shape. Since opset 22 the specification says that windows that would start in the padded
# region are ignored; onnxruntime and onnx's own reference evaluator ignore them at every opset: 1 x 1.
# Seen: at opsets 12 and 19 onnx.shape_inference says 2 x 2, at opset 22 it says 1 x 1. onnxruntime warns
# that "expected shape from model ... does not match actual shape" and answers 1 x 1. What is planned by
# inferred shapes (buffers of generated code, Reshapes behind the pool) is planned too large.
# What follows here: `weightspace import` refuses such a pool by its node's name, whatever the opset.
#
# Exits 0 while that is so, 1 when it no longer is.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0
"$place/env/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(3)
image = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
inferred = {}
for kind in ("MaxPool", "AveragePool"):
    for opset in (12, 19, 22):
        pool = helper.make_node(
            kind, ["x"], ["y"], kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1
        )
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        model = helper.make_model(
            helper.make_graph([pool], "pool", [x], [y]),
            opset_imports=[helper.make_opsetid("", opset)], ir_version=8,
        )
        shape = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
        said = tuple(each.dim_value for each in shape.dim)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        ran = session.run(None, {"x": image})[0].shape
        reference = ReferenceEvaluator(model).run(None, {"x": image})[0].shape
        print(f"{kind} {opset}: inferred {said}, onnxruntime {ran}, reference {reference}")
        assert ran == reference == (1, 1, 1, 1), "who runs it disagrees"
        inferred[kind, opset] = said[2:]
so = all(shape == ((1, 1) if opset == 22 else (2, 2)) for (_, opset), shape in inferred.items())
print("as described" if so else "no longer so")
raise SystemExit(not so)
PYTHON

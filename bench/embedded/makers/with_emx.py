"""emx-onnx-cgen: C from ONNX, float32. All of its temporaries are on the stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from interface import write_interface
from onnx_model import write


def main(folder: Path) -> None:
    model = write(folder)
    tool = Path(sys.executable).with_name("emx-onnx-cgen")
    words = ["compile", "--large-temp-threshold", "0", "--large-weight-threshold", "0",
             "--model-name", "peer", str(model), str(folder / "peer.inc")]  # fmt: skip
    subprocess.run([str(tool), *words], check=True, capture_output=True)
    # arrays of several dimensions by another name: their elements lie as ours do
    call = "    (void)arena;\n    peer((const void *)x, (void *)y);\n"
    write_interface(folder, '#include "peer.inc"\n', call)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

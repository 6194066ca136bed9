"""emlearn: dense networks, float32 (its "loadable" kind; weights are printed with six decimals)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import emlearn
import numpy as np
from emlearn.net import c_generate_net_loadable
from interface import write_interface


def main(folder: Path) -> None:
    described = json.loads((folder / "net.json").read_text())
    layers = described["layers"]
    if any(layer["kind"] != "linear" for layer in layers):
        sys.exit("emlearn has dense layers only")
    arrays = np.load(folder / "net.npz")
    text = c_generate_net_loadable(
        [layer["activation"] for layer in layers],
        [arrays[layer["weight"]].T for layer in layers],
        [arrays[layer["bias"]] for layer in layers],
        prefix="peer",
    )
    (folder / "peer.inc").write_text(text)
    for header in Path(str(emlearn.__file__)).parent.glob("*.h"):
        shutil.copy(header, folder)
    call = "    (void)arena;\n    peer_regress(x, NET_INPUTS, y, NET_OUTPUTS);\n"
    write_interface(folder, '#include "peer.inc"\n', call)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

#!/usr/bin/env bash
# A network that emlearn prints as C has its weights with six decimals, so small ones are zero.
#
# emlearn 0.23.2, scikit-learn 1.9.1, numpy 2.4.6, gcc: `emlearn.convert(net, method="inline")` of an
# MLPClassifier, saved as a header, float32.
#
# Expected: the network's float32 weights, so that C answers as Python does. Nine significant digits
# say which float32 is meant.
# Seen: "%f". Where features are large, as a pressure in pascals or a raw counter is, weights are small:
# with features of 10^7 the first layer's (10^-7) are printed as 0.000000f all, and C gives every sample
# the same answer, without a word. Features of 1 hide it: there six decimals are nearly enough.
# What follows here: weights are printed as hexadecimal floats or nine digits, and the rows of emlearn in
# bench/results/embedded say "rounding", of 2e-5, where the others' have the engine's bits.
#
# Exits 0 while that is so, 1 when it no longer is.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install -q emlearn==0.23.2 scikit-learn==1.9.1 numpy==2.4.6
cat > "$place/make.py" <<'PY'
import sys
import warnings
from pathlib import Path

import emlearn
import numpy as np
from sklearn.neural_network import MLPClassifier

place = Path(sys.argv[1])
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 4))
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
net = MLPClassifier((8,), max_iter=600, random_state=0).fit(x, y)
x, net.coefs_[0] = x * 1e7, net.coefs_[0] / 1e7  # the same network in another unit
(place / "python").write_text(str(int((net.predict(x) == y).sum())))
emlearn.convert(net, method="inline").save(file=str(place / "net.h"), name="net")
(place / "samples.h").write_text(
    "static const float samples[1000][4] = {"
    + ",".join("{" + ",".join(f"{each:.9e}f" for each in row) + "}" for row in x)
    + "};\nstatic const int labels[1000] = {" + ",".join(map(str, y)) + "};\n"
)
(place / "include").write_text(emlearn.includedir)
PY
cat > "$place/ask.c" <<'C'
#include <stdio.h>
#include "net.h"
#include "samples.h"
int main(void) {
    int right = 0, first = 0, i;
    for (i = 0; i < 1000; ++i) {
        const int said = net_predict(samples[i], 4);
        right += said == labels[i];
        first += said == net_predict(samples[0], 4);
    }
    printf("%d %d\n", right, first);
    return 0;
}
C
cd "$place" # where emlearn puts what it compiles, in tmp/
"$place/env/bin/python" "$place/make.py" "$place"
gcc -O1 -w -I"$(cat "$place/include")" "$place/ask.c" -lm -o "$place/ask"
read -r right same < <("$place/ask")
echo "of 1,000 samples right: $(cat "$place/python") in Python, $right in C, which gives $same the same answer"
grep -o "net_layer_0_weights\[32\] = {.\{60\}" "$place/net.h"
[ "$(cat "$place/python")" -gt 900 ] && [ "$same" = 1000 ] || { echo "no longer so"; exit 1; }
echo "as described"

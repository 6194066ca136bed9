/* Elementwise activations. The codes are those of kernels/codes.py:
   0 identity, 1 relu, 2 leaky relu, 3 tanh, 4 sigmoid. WS_ACTS has a bit for each that there is:
   what a program does not use takes no room. */

/* f(x). NaN stays NaN, and relu's -0 stays -0. */
static float ws_apply(int act, float slope, float x) {
    float e;
    if (act == 0) {
        return x;
    }
    if ((WS_ACTS & 8) && act == 3) {
        return ws_tanh(x);
    }
    if ((WS_ACTS & 16) && act == 4) {
        e = ws_exp(-ws_abs(x));
        return (x < 0.0F ? e : 1.0F) / (1.0F + e);
    }
    return x < 0.0F ? (act == 1 ? 0.0F : slope * x) : x;
}

/* f'(x) dy, f' written in y = f(x). */
static float ws_pull(int act, float slope, float y, float dy) {
    if (act == 0) {
        return dy;
    }
    if ((WS_ACTS & 8) && act == 3) {
        return dy * WS_FMA(-y, y, 1.0F);
    }
    if ((WS_ACTS & 16) && act == 4) {
        return dy * y * (1.0F - y);
    }
    return y > 0.0F ? dy : (act == 1 ? 0.0F : slope * dy);
}

/* y = f(x) */
static void ws_activation_forward(int act, float slope, const float *x, float *y, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = ws_apply(act, slope, x[i]);
    }
}

/* dx = f'(x) dy, V cotangents stacked along the rows */
static void ws_activation_backward(int act, float slope, const float *y, const float *dy, float *dx,
                                   int N, int O, int V) {
    int v, i;
    for (v = 0; v < V; ++v) {
        for (i = 0; i < N * O; ++i) {
            dx[v * N * O + i] = ws_pull(act, slope, y[i], dy[v * N * O + i]);
        }
    }
}

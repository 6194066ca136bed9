/* Gradients of convolutions, directly: chains of fma in the order of docs/convolutions.md, kept in
   registers from the first to the last of their terms. */

/* The last tap before `tap` that meets the inputs of this phase of the stride; -1 if there is none.
 */
static int ws_conv_tap_before(int tap, int phase, int stride, int dilation) {
    for (--tap; tap >= 0 && (tap * dilation - phase) % stride != 0; --tap) {
    }
    return tap;
}

/* xa and xb (c), at (i, ja) and (i, jb) of a padded image, in the same phase (a, b) of the strides:
   a chain each over the taps that meet them, the last first, so that dz's rows and columns rise,
   and over the group's filters. Four channels share each load of dz, both places each of a weight.
 */
static WS_APART void ws_conv_turned(const float *dz, const float *w, int i, int ja, int jb,
                                    int stride0, int stride1, int dilation0, int dilation1,
                                    float *xa, float *xb, int filters, int O, int R, int S, int c,
                                    int OH, int OW) {
    const float zero = 0.0F;
    const int a = i % stride0, b = ja % stride1;
    int e, r, s, k;
    for (e = 0; e < c; e += e + 4 <= c ? 4 : 1) {
        const int four = e + 4 <= c;
        float a0 = 0.0F, a1 = 0.0F, a2 = 0.0F, a3 = 0.0F;
        float b0 = 0.0F, b1 = 0.0F, b2 = 0.0F, b3 = 0.0F;
        for (r = ws_conv_tap_before(R, a, stride0, dilation0); r >= 0;
             r = ws_conv_tap_before(r, a, stride0, dilation0)) {
            const int row = (i - r * dilation0) / stride0;
            for (s = ws_conv_tap_before(S, b, stride1, dilation1); s >= 0;
                 s = ws_conv_tap_before(s, b, stride1, dilation1)) {
                const int from = (ja - s * dilation1) / stride1,
                          to = (jb - s * dilation1) / stride1;
                const int p_in = row >= 0 && row < OH && from >= 0 && from < OW;
                const int q_in = row >= 0 && row < OH && to >= 0 && to < OW;
                const float *p = p_in ? dz + (row * OW + from) * O : &zero;
                const float *q = q_in ? dz + (row * OW + to) * O : &zero;
                const float *v = w + (r * S + s) * c + e;
                if (four) {
                    for (k = filters; k > 0; --k) {
                        const float f = *p, g = *q;
                        float u = WS_W(v[0]);
                        a0 = WS_FMA(f, u, a0);
                        b0 = WS_FMA(g, u, b0);
                        u = WS_W(v[1]);
                        a1 = WS_FMA(f, u, a1);
                        b1 = WS_FMA(g, u, b1);
                        u = WS_W(v[2]);
                        a2 = WS_FMA(f, u, a2);
                        b2 = WS_FMA(g, u, b2);
                        u = WS_W(v[3]);
                        a3 = WS_FMA(f, u, a3);
                        b3 = WS_FMA(g, u, b3);
                        v += R * S * c;
                        p += p_in;
                        q += q_in;
                    }
                } else {
                    for (k = filters; k > 0; --k) {
                        a0 = WS_FMA(*p, WS_W(*v), a0);
                        b0 = WS_FMA(*q, WS_W(*v), b0);
                        v += R * S * c;
                        p += p_in;
                        q += q_in;
                    }
                }
            }
        }
        xa[e] = a0, xb[e] = b0;
        if (four) {
            xa[e + 1] = a1, xa[e + 2] = a2, xa[e + 3] = a3;
            xb[e + 1] = b1, xb[e + 2] = b2, xb[e + 3] = b3;
        }
    }
}

/* dx (N, H, W, C), overwritten: the transpose of the convolution, of dz (N, OH, OW, O) */
static void ws_conv2d_input_grad(const float *dz, const float *w, int stride0, int stride1,
                                 int padding0, int padding1, int dilation0, int dilation1,
                                 int groups, float *work, float *dx, int C, int H, int N, int O,
                                 int R, int S, int W, int c, int OH, int OW) {
    const int filters = O / groups;
    int n, i, b, j, g;
    (void)work;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < H; ++i) {
            float *row = dx + (n * H + i) * W * C;
            for (b = 0; b < stride1; ++b) {
                for (j = b; j < W; j += 2 * stride1) {
                    const int other = j + stride1 < W ? j + stride1 : j;
                    for (g = 0; g < groups; ++g) {
                        ws_conv_turned(dz + n * OH * OW * O + g * filters,
                                       w + g * filters * R * S * c, i + padding0, j + padding1,
                                       other + padding1, stride0, stride1, dilation0, dilation1,
                                       row + j * C + g * c, row + other * C + g * c, filters, O, R,
                                       S, c, OH, OW);
                    }
                }
            }
        }
    }
}

/* The first output whose pixel at `at` (that of output 0) does not lie before the image. */
static int ws_conv_first(int at, int stride) {
    return at < 0 ? (stride - 1 - at) / stride : 0;
}

/* How many outputs there are before the first whose pixel lies behind the image. */
static int ws_conv_past(int at, int stride, int size, int outputs) {
    const int past = at < size ? (size - 1 - at) / stride + 1 : 0;
    return past < outputs ? past : outputs;
}

/* The pixels of a row of outputs, from output j to before `end`, `step` apart: those of an image's
   row (`some`), of which that of output 0 is number `at` and the next `move` on, for outputs from
   `first` to before `past`; zeros where they lie outside. */
static const float *ws_conv_stretch(const float *x, int at, int move, int some, int first, int past,
                                    int OW, int j, int *end, int *step) {
    static const float zeros[4] = {0.0F, 0.0F, 0.0F, 0.0F};
    if (some && j >= first && j < past) {
        *end = past, *step = move;
        return x + at + j * move;
    }
    *end = some && j < first ? first : OW, *step = 0;
    return zeros;
}

/* found[4 f + e] = the chain over samples, rows and columns of dz_f x_e, of four filters and four
   channels at the tap whose pixel of output (0, 0) is (top, left); x and dz begin at the first of
   them. */
static WS_APART void ws_conv_four(const float *x, const float *dz, int stride0, int stride1,
                                  int top, int left, float *found, int C, int H, int N, int O,
                                  int W, int OH, int OW) {
    const int first = ws_conv_first(left, stride1), past = ws_conv_past(left, stride1, W, OW);
    float z[16] = {0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F,
                   0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F};
    int n, i, j;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            const int row = top + i * stride0, some = row >= 0 && row < H && first < past;
            for (j = 0; j < OW;) {
                int end, step;
                const float *p = ws_conv_stretch(x, ((n * H + row) * W + left) * C, stride1 * C,
                                                 some, first, past, OW, j, &end, &step);
                for (; j < end; ++j) {
                    const float e = p[0], f = p[1], g = p[2], h = p[3];
                    float u = dz[0];
                    z[0] = WS_FMA(u, e, z[0]);
                    z[1] = WS_FMA(u, f, z[1]);
                    z[2] = WS_FMA(u, g, z[2]);
                    z[3] = WS_FMA(u, h, z[3]);
                    u = dz[1];
                    z[4] = WS_FMA(u, e, z[4]);
                    z[5] = WS_FMA(u, f, z[5]);
                    z[6] = WS_FMA(u, g, z[6]);
                    z[7] = WS_FMA(u, h, z[7]);
                    u = dz[2];
                    z[8] = WS_FMA(u, e, z[8]);
                    z[9] = WS_FMA(u, f, z[9]);
                    z[10] = WS_FMA(u, g, z[10]);
                    z[11] = WS_FMA(u, h, z[11]);
                    u = dz[3];
                    z[12] = WS_FMA(u, e, z[12]);
                    z[13] = WS_FMA(u, f, z[13]);
                    z[14] = WS_FMA(u, g, z[14]);
                    z[15] = WS_FMA(u, h, z[15]);
                    p += step;
                    dz += O;
                }
            }
        }
    }
    memcpy(found, z, sizeof z);
}

/* The same of four filters and one channel: found[4 f] */
static WS_APART void ws_conv_column(const float *x, const float *dz, int stride0, int stride1,
                                    int top, int left, float *found, int C, int H, int N, int O,
                                    int W, int OH, int OW) {
    const int first = ws_conv_first(left, stride1), past = ws_conv_past(left, stride1, W, OW);
    float z0 = 0.0F, z1 = 0.0F, z2 = 0.0F, z3 = 0.0F;
    int n, i, j;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            const int row = top + i * stride0, some = row >= 0 && row < H && first < past;
            for (j = 0; j < OW;) {
                int end, step;
                const float *p = ws_conv_stretch(x, ((n * H + row) * W + left) * C, stride1 * C,
                                                 some, first, past, OW, j, &end, &step);
                for (; j < end; ++j) {
                    const float e = *p;
                    z0 = WS_FMA(dz[0], e, z0);
                    z1 = WS_FMA(dz[1], e, z1);
                    z2 = WS_FMA(dz[2], e, z2);
                    z3 = WS_FMA(dz[3], e, z3);
                    p += step;
                    dz += O;
                }
            }
        }
    }
    found[0] = z0, found[4] = z1, found[8] = z2, found[12] = z3;
}

/* The same of one filter and one channel: found[0] */
static WS_APART void ws_conv_entry(const float *x, const float *dz, int stride0, int stride1,
                                   int top, int left, float *found, int C, int H, int N, int O,
                                   int W, int OH, int OW) {
    const int first = ws_conv_first(left, stride1), past = ws_conv_past(left, stride1, W, OW);
    float z = 0.0F;
    int n, i, j;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            const int row = top + i * stride0, some = row >= 0 && row < H && first < past;
            for (j = 0; j < OW;) {
                int end, step;
                const float *p = ws_conv_stretch(x, ((n * H + row) * W + left) * C, stride1 * C,
                                                 some, first, past, OW, j, &end, &step);
                for (; j < end; ++j) {
                    z = WS_FMA(*dz, *p, z);
                    p += step;
                    dz += O;
                }
            }
        }
    }
    found[0] = z;
}

/* found[4 f + e]: the chains over N samples of a block of filters and channels at a tap, 4 x 4, 4 x
   1 or 1 x 1 */
static void ws_conv_block(const float *x, const float *dz, int stride0, int stride1, int top,
                          int left, int filters, int channels, float *found, int C, int H, int N,
                          int O, int W, int OH, int OW) {
    if (channels == 4) {
        ws_conv_four(x, dz, stride0, stride1, top, left, found, C, H, N, O, W, OH, OW);
    } else if (filters == 4) {
        ws_conv_column(x, dz, stride0, stride1, top, left, found, C, H, N, O, W, OH, OW);
    } else {
        ws_conv_entry(x, dz, stride0, stride1, top, left, found, C, H, N, O, W, OH, OW);
    }
}

/* Groups of N samples, each with sums of its own; k = R S c entries of each of O filters. */
static int ws_conv_groups(int N, int k, int O) {
    const int32_t room = ((int32_t)(k + 15) / 16 * 16 + 1) * ((int32_t)(O + 31) / 32 * 32);
    const int32_t most = 2097152 / room < 16 ? 2097152 / room : 16;
    return N < most ? N : (most > 1 ? (int)most : 1);
}

/* |a|^power added to z, the square and the sum rounded once */
static float ws_conv_raised(int power, float a, float z) {
    return power == 2 ? WS_FMA(a, a, z) : z + ws_abs(a);
}

/* sums[4 f + e] of samples begin to end, of a block of filters and channels at a tap. power 0: one
   chain over all of them; 1 or 2: of every sample and each of V cotangents the power of its chain
   is added up. dz of all N samples and cotangents. */
static void ws_conv_group(const float *x, const float *dz, int stride0, int stride1, int top,
                          int left, int power, int begin, int end, int filters, int channels,
                          float *sums, int C, int H, int N, int O, int V, int W, int OH, int OW) {
    float found[16];
    int n, v, f;
    if (power == 0) {
        ws_conv_block(x + begin * H * W * C, dz + begin * OH * OW * O, stride0, stride1, top, left,
                      filters, channels, sums, C, H, end - begin, O, W, OH, OW);
        return;
    }
    for (f = 0; f < 16; ++f) {
        sums[f] = 0.0F;
    }
    for (n = begin; n < end; ++n) {
        for (v = 0; v < V; ++v) {
            ws_conv_block(x + n * H * W * C, dz + (v * N + n) * OH * OW * O, stride0, stride1, top,
                          left, filters, channels, found, C, H, 1, O, W, OH, OW);
            for (f = 0; f < 4 * filters; f += channels == 4 ? 1 : 4) {
                sums[f] = ws_conv_raised(power, found[f], sums[f]);
            }
        }
    }
}

/* dw (O, R, S, c) = beta dw + the sums of groups of samples, one by one */
static void ws_conv_gradient(const float *x, const float *dz, int stride0, int stride1,
                             int padding0, int padding1, int dilation0, int dilation1, int groups,
                             int power, float beta, float *dw, int C, int H, int N, int O, int R,
                             int S, int V, int W, int c, int OH, int OW) {
    const int each = O / groups, cuts = ws_conv_groups(N, R * S * c, O);
    float sums[16];
    int o, k, e, cut, f, filters, channels;
    for (o = 0; o < O; o += filters) {
        filters = o % each + 4 <= each ? 4 : 1;
        for (k = 0; k < R * S; ++k) {
            const int top = k / S * dilation0 - padding0, left = k % S * dilation1 - padding1;
            for (e = 0; e < c; e += channels) {
                channels = filters == 4 && e + 4 <= c ? 4 : 1;
                for (cut = 0; cut < cuts; ++cut) {
                    const int begin = (int)((int32_t)cut * N / cuts);
                    const int end = (int)((int32_t)(cut + 1) * N / cuts);
                    ws_conv_group(x + o / each * c + e, dz + o, stride0, stride1, top, left, power,
                                  begin, end, filters, channels, sums, C, H, N, O, V, W, OH, OW);
                    for (f = 0; f < filters * channels; ++f) {
                        float *d = dw + ((o + f / channels) * R * S + k) * c + e + f % channels;
                        const float old = cut ? *d : (beta != 0.0F ? *d * beta : 0.0F);
                        *d = old + sums[f / channels * 4 + f % channels];
                    }
                }
            }
        }
    }
}

/* db (O) = beta db + the groups' sums of dz, or of the powers of every sample's and cotangent's sum
 */
static void ws_conv_bias(const float *dz, int power, float beta, float *db, int N, int O, int V,
                         int places, int cuts) {
    int o, cut, n, v, p;
    for (o = 0; o < O; ++o) {
        float total = beta != 0.0F ? db[o] * beta : 0.0F;
        for (cut = 0; cut < cuts; ++cut) {
            const int end = (int)((int32_t)(cut + 1) * N / cuts);
            float sum = 0.0F;
            for (n = (int)((int32_t)cut * N / cuts); n < end; ++n) {
                for (v = 0; v < V; ++v) {
                    float one = power == 0 ? sum : 0.0F;
                    for (p = 0; p < places; ++p) {
                        one += dz[((v * N + n) * places + p) * O + o];
                    }
                    sum = power == 0 ? one : ws_conv_raised(power, one, sum);
                }
            }
            total += sum;
        }
        db[o] = total;
    }
}

/* dw = beta dw + the sum over samples and places of dz x, db likewise of dz */
static void ws_conv2d_weight_grad(const float *x, const float *dz, int stride0, int stride1,
                                  int padding0, int padding1, int dilation0, int dilation1,
                                  int groups, float beta, float *work, float *dw, float *db, int C,
                                  int H, int N, int O, int R, int S, int W, int c, int OH, int OW) {
    (void)work;
    ws_conv_gradient(x, dz, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, 0,
                     beta, dw, C, H, N, O, R, S, 1, W, c, OH, OW);
    if (db) {
        ws_conv_bias(dz, 0, beta, db, N, O, 1, OH * OW, ws_conv_groups(N, R * S * c, O));
    }
}

/* dw (N, O, R, S, c) and db (N, O): each sample's own */
static void ws_conv2d_sample_grads(const float *x, const float *dz, int stride0, int stride1,
                                   int padding0, int padding1, int dilation0, int dilation1,
                                   int groups, float *work, float *dw, float *db, int C, int H,
                                   int N, int O, int R, int S, int W, int c, int OH, int OW) {
    int n;
    (void)work;
    for (n = 0; n < N; ++n) {
        const float *d = dz + n * OH * OW * O;
        ws_conv_gradient(x + n * H * W * C, d, stride0, stride1, padding0, padding1, dilation0,
                         dilation1, groups, 0, 0.0F, dw + n * O * R * S * c, C, H, 1, O, R, S, 1, W,
                         c, OH, OW);
        if (db) {
            ws_conv_bias(d, 0, 0.0F, db + n * O, 1, O, 1, OH * OW, 1);
        }
    }
}

/* dw and db += |g|^power of every sample's and each of V cotangents' gradient g; dz (V, N, OH, OW,
 * O) */
static void ws_conv2d_accumulate(const float *x, const float *dz, int stride0, int stride1,
                                 int padding0, int padding1, int dilation0, int dilation1,
                                 int groups, int power, float *work, float *dw, float *db, int C,
                                 int H, int N, int O, int R, int S, int V, int W, int c, int OH,
                                 int OW) {
    (void)work;
    ws_conv_gradient(x, dz, stride0, stride1, padding0, padding1, dilation0, dilation1, groups,
                     power, 1.0F, dw, C, H, N, O, R, S, V, W, c, OH, OW);
    if (db) {
        ws_conv_bias(dz, power, 1.0F, db, N, O, V, OH * OW, ws_conv_groups(N, R * S * c, O));
    }
}

/* The magnitudes that a tap sees of one channel: those of a sample in order, then the samples. */
static float ws_conv_traffic(const float *x, int stride0, int stride1, int top, int left, int C,
                             int H, int N, int W, int OH, int OW) {
    const int first = ws_conv_first(left, stride1), past = ws_conv_past(left, stride1, W, OW);
    float total = 0.0F;
    int n, i, j;
    for (n = 0; n < N; ++n) {
        float sum = 0.0F;
        for (i = 0; i < OH; ++i) {
            const int row = top + i * stride0;
            for (j = row >= 0 && row < H ? first : past; j < past; ++j) {
                sum += ws_abs(x[((n * H + row) * W + left + j * stride1) * C]);
            }
        }
        total += sum;
    }
    return total;
}

/* dw += |w| times what its tap sees; db += |y| */
static void ws_conv2d_signal(const float *x, const float *y, const float *w, int stride0,
                             int stride1, int padding0, int padding1, int dilation0, int dilation1,
                             int groups, float *work, float *dw, float *db, int C, int H, int N,
                             int O, int R, int S, int W, int c, int OH, int OW) {
    const int each = O / groups, K = R * S * c;
    int e, k, o, p;
    (void)work;
    for (e = 0; e < C; ++e) {
        for (k = 0; k < R * S; ++k) {
            const int top = k / S * dilation0 - padding0, left = k % S * dilation1 - padding1;
            const float seen =
                ws_conv_traffic(x + e, stride0, stride1, top, left, C, H, N, W, OH, OW);
            for (o = e / c * each; o < (e / c + 1) * each; ++o) {
                const int at = o * K + k * c + e % c;
                dw[at] = WS_FMA(ws_abs(WS_W(w[at])), seen, dw[at]);
            }
        }
    }
    for (o = 0; db && o < O; ++o) {
        for (p = 0; p < N * OH * OW; ++p) {
            db[o] += ws_abs(y[p * O + o]);
        }
    }
}

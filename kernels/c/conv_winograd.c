/* 3 x 3 convolutions with stride 1 by Winograd's F(4x4, 3x3): 4 x 4 outputs from 6 x 6 pixels by 36
   products. Transforms go along the rows first and then along the columns. A block of 4 tiles and 8
   filters is summed two channels at a time, so that scratch is bounded. */

/* B' d: six numbers, `apart`, to six, `step` apart. Both may be the same. */
static WS_WITHIN void ws_winograd_of_input(const float *d, int apart, float *t, int step) {
    const float d0 = d[0], d1 = d[apart], d2 = d[2 * apart], d3 = d[3 * apart], d4 = d[4 * apart];
    const float d5 = d[5 * apart], p = WS_FMA(-4.0F, d2, d4), q = WS_FMA(-4.0F, d1, d3);
    const float r = d4 - d2, s = d3 - d1;
    t[0] = WS_FMA(4.0F, d0, WS_FMA(-5.0F, d2, d4));
    t[step] = p + q;
    t[2 * step] = p - q;
    t[3 * step] = WS_FMA(2.0F, s, r);
    t[4 * step] = WS_FMA(-2.0F, s, r);
    t[5 * step] = WS_FMA(4.0F, d1, WS_FMA(-5.0F, d3, d5));
}

/* G g: three, `apart`, to six */
static WS_WITHIN void ws_winograd_of_filter(const float *g, int apart, float *t, int step) {
    const float g0 = g[0], g1 = g[apart], g2 = g[2 * apart];
    const float p = -1.0F / 6.0F * (g0 + g2), q = 1.0F / 6.0F * g1;
    const float r = WS_FMA(1.0F / 24.0F, g0, 1.0F / 6.0F * g2), s = 1.0F / 12.0F * g1;
    t[0] = 0.25F * g0;
    t[step] = p - q;
    t[2 * step] = p + q;
    t[3 * step] = r + s;
    t[4 * step] = r - s;
    t[5 * step] = g2;
}

/* A' m: six, `apart`, to four */
static WS_WITHIN void ws_winograd_to_output(const float *m, int apart, float *t, int step) {
    const float m0 = m[0], m1 = m[apart], m2 = m[2 * apart], m3 = m[3 * apart], m4 = m[4 * apart];
    const float m5 = m[5 * apart], p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4;
    t[0] = m0 + p + r;
    t[step] = WS_FMA(2.0F, s, q);
    t[2 * step] = WS_FMA(4.0F, r, p);
    t[3 * step] = WS_FMA(8.0F, s, q) + m5;
}

/* The pixels (6, 6) of one channel from (top, left) of an image on, which may lie outside: their
   first, in the image, or in t, and in `apart` how far it is to the next one of a row and of a
   column */
static const float *ws_winograd_pixels(const float *x, int top, int left, int height, int width,
                                       int depth, float *t, int *apart) {
    int i, j;
    if (top >= 0 && top + 6 <= height && left >= 0 && left + 6 <= width) {
        apart[0] = depth;
        apart[1] = width * depth;
        return x + (top * width + left) * depth;
    }
    for (i = 0; i < 36; ++i) {
        t[i] = 0.0F;
    }
    for (i = top < 0 ? 0 : top; i < top + 6 && i < height; ++i) {
        for (j = left < 0 ? 0 : left; j < left + 6 && j < width; ++j) {
            t[(i - top) * 6 + j - left] = x[(i * width + j) * depth];
        }
    }
    apart[0] = 1;
    apart[1] = 6;
    return t;
}

/* v (36), 4 apart: a tile's pixels at all frequencies */
static WS_APART void ws_winograd_input(const float *x, int top, int left, int height, int width, int depth,
                              float *v) {
    float t[36];
    int i, apart[2];
    const float *d = ws_winograd_pixels(x, top, left, height, width, depth, t, apart);
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_input(d + i * apart[0], apart[1], t + i, 6);
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_input(t + 6 * i, 1, v + 24 * i, 4);
    }
}

/* u (36), 4 apart: nine taps, `step` from one to the next, at all frequencies */
static WS_APART void ws_winograd_filter(const float *w, int step, float *u) {
    float t[18];
    int i;
    for (i = 0; i < 3; ++i, w += step) {
        float g[3];
        g[0] = WS_W(w[0]), g[1] = WS_W(w[3 * step]), g[2] = WS_W(w[6 * step]);
        ws_winograd_of_filter(g, 1, t + i, 3);
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_filter(t + 3 * i, 1, u + 24 * i, 4);
    }
}

/* m (36, 4, 4) goes on, or begins: at each frequency the products of four v with four u (36, 4), of
   one step or two */
static WS_APART void ws_winograd_products(const float *v, const float *u, int more, int count,
                                          float *m) {
    int k, i;
    for (k = 0; k < 36; ++k) {
        const float *p = v, *q = u;
        float z[16] = {0.0F};
        if (more) {
            z[0] = m[0], z[1] = m[1], z[2] = m[2], z[3] = m[3];
            z[4] = m[4], z[5] = m[5], z[6] = m[6], z[7] = m[7];
            z[8] = m[8], z[9] = m[9], z[10] = m[10], z[11] = m[11];
            z[12] = m[12], z[13] = m[13], z[14] = m[14], z[15] = m[15];
        }
        for (i = count; i > 0; --i) {
            const float a = p[0], b = p[1], c = p[2], d = p[3];
            float e = q[0];
            z[0] = WS_FMA(a, e, z[0]);
            z[4] = WS_FMA(b, e, z[4]);
            z[8] = WS_FMA(c, e, z[8]);
            z[12] = WS_FMA(d, e, z[12]);
            e = q[1];
            z[1] = WS_FMA(a, e, z[1]);
            z[5] = WS_FMA(b, e, z[5]);
            z[9] = WS_FMA(c, e, z[9]);
            z[13] = WS_FMA(d, e, z[13]);
            e = q[2];
            z[2] = WS_FMA(a, e, z[2]);
            z[6] = WS_FMA(b, e, z[6]);
            z[10] = WS_FMA(c, e, z[10]);
            z[14] = WS_FMA(d, e, z[14]);
            e = q[3];
            z[3] = WS_FMA(a, e, z[3]);
            z[7] = WS_FMA(b, e, z[7]);
            z[11] = WS_FMA(c, e, z[11]);
            z[15] = WS_FMA(d, e, z[15]);
            p += 144;
            q += 144;
        }
        m[0] = z[0], m[1] = z[1], m[2] = z[2], m[3] = z[3];
        m[4] = z[4], m[5] = z[5], m[6] = z[6], m[7] = z[7];
        m[8] = z[8], m[9] = z[9], m[10] = z[10], m[11] = z[11];
        m[12] = z[12], m[13] = z[13], m[14] = z[14], m[15] = z[15];
        m += 16;
        v += 4;
        u += 4;
    }
}

/* The bits of a number without its sign: larger ones are of larger numbers, the largest of NaN. */
static int32_t ws_winograd_size(float x) {
    return ws_bits(x) & 0x7fffffff;
}

/* The outputs of a tile, a bit each, that are summed directly: all if one of its pixels is NaN,
   infinite or so large that the transforms might overflow, else those that see nothing as large as
   1/64 of the tile's largest magnitude. */
static unsigned ws_winograd_odd(const float *x, int top, int left, int height, int width,
                                int depth) {
    const int32_t large = ws_bits(1152921504606846976.0F); /* 2^60 */
    int32_t seen[36], rows[24], most = 0, floor_;
    unsigned found = 0;
    int i, k;
    for (i = 0; i < 36; ++i) {
        const int row = top + i / 6, column = left + i % 6;
        const float *d = x + (row * width + column) * depth;
        int32_t here = 0;
        if (row >= 0 && row < height && column >= 0 && column < width) {
            for (k = depth; k > 0; --k) {
                const int32_t size = ws_winograd_size(*d++);
                here = size > here ? size : here;
            }
        }
        seen[i] = here;
    }
    for (i = 0; i < 36; ++i) {
        most = seen[i] > most ? seen[i] : most;
    }
    if (most >= large) {
        return 0xffffU;
    }
    floor_ = ws_bits(ws_float(most) * 0.015625F);
    for (i = 0; i < 24; ++i) { /* of three pixels side by side, then of three such rows */
        const int32_t *const p = seen + i / 4 * 6 + i % 4;
        const int32_t size = p[1] > p[0] ? p[1] : p[0];
        rows[i] = p[2] > size ? p[2] : size;
    }
    for (i = 0; i < 16; ++i) {
        const int32_t size = rows[i + 4] > rows[i] ? rows[i + 4] : rows[i];
        const int32_t here = rows[i + 8] > size ? rows[i + 8] : size;
        found |= here < floor_ ? 1U << i : 0U;
    }
    return found;
}

/* One output directly: the chain over nine taps, `step` from one to the next, and over `depth`
   channels, `across` from one to the next. */
static float ws_winograd_direct(const float *x, int top, int left, int height, int width, int depth,
                                const float *w, int step, int across) {
    float z = 0.0F;
    int i, k;
    for (i = 0; i < 9; ++i) {
        const int row = top + i / 3, column = left + i % 3;
        const int inside = row >= 0 && row < height && column >= 0 && column < width;
        for (k = 0; k < depth; ++k) {
            const float e = inside ? x[(row * width + column) * depth + k] : 0.0F;
            z = WS_FMA(e, WS_W(w[i * step + k * across]), z);
        }
    }
    return z;
}

/* m (2, 36, 4, 4): all frequencies of up to four tiles from `first` on and up to eight filters from
   w on, whose nine taps are `step` apart, channels `across`, filters `along`; scratch: v of two
   channels and twice u of two, 864 numbers */
static void ws_winograd_block(const float *x, const float *w, int step, int across, int along,
                              int top, int left, int first, int tiles, int filters, float *scratch,
                              float *m, int height, int width, int depth, int rows, int columns) {
    const int wide = (columns + 3) / 4, count = (rows + 3) / 4 * wide;
    float *u = scratch + 288;
    int i, k;
    if (tiles < 4 || filters % 4) { /* what is beyond those that there are */
        memset(scratch, 0, 864 * sizeof(float));
    }
    for (k = 0; k < depth; ++k) {
        const int second = k & 1;
        for (i = 0; i < tiles; ++i) {
            const int tile = first + i;
            ws_winograd_input(x + tile / count * height * width * depth + k,
                              top + tile % count / wide * 4, left + tile % wide * 4, height, width,
                              depth, scratch + 144 * second + i);
        }
        for (i = 0; i < filters; ++i) {
            ws_winograd_filter(w + i * along + k * across, step,
                               u + i / 4 * 288 + 144 * second + i % 4);
        }
        for (i = 0; i < filters && (second || k + 1 == depth); i += 4) {
            ws_winograd_products(scratch, u + i / 4 * 288, k > 1, second + 1, m + i / 4 * 576);
        }
    }
}

/* The outputs y of a tile and a filter from its frequencies m, 16 apart, but for those in `odd`; y
   is that of its first output, of so many rows and columns that there are */
static WS_APART void ws_winograd_put(const float *m, unsigned odd, int add, float *y, int rows, int columns,
                            int width, int filters) {
    float t[24];
    int i, j;
    for (i = 0; i < 6; ++i) {
        ws_winograd_to_output(m + 16 * i, 96, t + i, 6);
    }
    for (i = 0; i < 4 && i < rows; ++i, odd >>= 4, y += width * filters) {
        float z[4], *here = y;
        ws_winograd_to_output(t + 6 * i, 1, z, 1);
        for (j = 0; j < 4 && j < columns; ++j, here += filters) {
            if (!(odd >> j & 1U)) {
                *here = add ? z[j] + *here : z[j];
            }
        }
    }
}

/* The outputs y of a tile that are in `odd`, directly; x: its image, (top, left) its first pixel */
static void ws_winograd_put_odd(const float *x, const float *w, int step, int across, int along,
                                int top, int left, unsigned odd, int add, float *y, int height,
                                int width, int depth, int rows, int columns, int row, int filters) {
    int i, j, o;
    for (i = 0; i < 4 && i < rows; ++i) {
        for (j = 0; j < 4 && j < columns; ++j) {
            if (odd >> (4 * i + j) & 1U) {
                float *here = y + (i * row + j) * filters;
                for (o = 0; o < filters; ++o) {
                    const float z = ws_winograd_direct(x, top + i, left + j, height, width, depth,
                                                       w + o * along, step, across);
                    here[o] = add ? z + here[o] : z;
                }
            }
        }
    }
}

/* y (N, rows, columns, filters), or what is added to it: the correlation of images x (N, height,
   width, depth) from (top, left) on with filters whose taps, channels and selves are `step`,
   `across` and `along` apart; scratch: 2016 numbers */
static void ws_winograd_correlate(const float *x, const float *w, int large, int step, int across,
                                  int along, int top, int left, int add, float *scratch, float *y,
                                  int N, int height, int width, int depth, int rows, int columns,
                                  int filters) {
    const int wide = (columns + 3) / 4, count = (rows + 3) / 4 * wide,
              image = height * width * depth;
    unsigned odd[4] = {0xffffU, 0xffffU, 0xffffU, 0xffffU};
    int first, i, o, f;
    for (first = 0; first < N * count; first += 4) {
        const int tiles = N * count - first < 4 ? N * count - first : 4;
        for (i = 0; i < tiles && !large; ++i) {
            odd[i] = ws_winograd_odd(x + (first + i) / count * image,
                                     top + (first + i) % count / wide * 4,
                                     left + (first + i) % wide * 4, height, width, depth);
        }
        for (o = 0; o < filters; o += 8) {
            const int some = filters - o < 8 ? filters - o : 8;
            ws_winograd_block(x, w + o * along, step, across, along, top, left, first, tiles, some,
                              scratch, scratch + 864, height, width, depth, rows, columns);
            for (i = 0; i < tiles; ++i) {
                const int n = (first + i) / count, row = (first + i) % count / wide * 4;
                const int column = (first + i) % wide * 4;
                for (f = 0; f < some; ++f) {
                    ws_winograd_put(scratch + 864 + f / 4 * 576 + 4 * i + f % 4, odd[i], add,
                                    y + ((n * rows + row) * columns + column) * filters + o + f,
                                    rows - row, columns - column, columns, filters);
                }
            }
        }
        for (i = 0; i < tiles; ++i) {
            const int n = (first + i) / count, row = (first + i) % count / wide * 4;
            const int column = (first + i) % wide * 4;
            ws_winograd_put_odd(x + n * image, w, step, across, along, top + row, left + column,
                                odd[i], add, y + ((n * rows + row) * columns + column) * filters,
                                height, width, depth, rows - row, columns - column, columns,
                                filters);
        }
    }
}

/* Whether a weight is NaN, infinite or so large that the transforms might overflow. */
static int ws_winograd_large(const float *w, int count) {
    int i, found = 0;
    for (i = 0; i < count; ++i) {
        found |= !(ws_abs(WS_W(w[i])) < 1073741824.0F);
    }
    return found;
}

/* y (N, OH, OW, O) = f(x * w + b) by Winograd's way */
static void ws_conv2d_forward_winograd(const float *x, const float *w, const float *b, int stride0,
                                       int stride1, int padding0, int padding1, int dilation0,
                                       int dilation1, int groups, int act, float slope, float *work,
                                       float *y, int C, int H, int N, int O, int R, int S, int W,
                                       int c, int OH, int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    ws_winograd_correlate(x, w, ws_winograd_large(w, O * R * S * C), C, 1, R * S * C, -padding0,
                          -padding1, 0, work, y, N, H, W, C, OH, OW, O);
    ws_conv_activate(b, act, slope, y, N * OH * OW, O);
}

/* ty = f'(y) (tx * w + x * tw + tb) by Winograd's way: two sums, the second plus the first */
static void ws_conv2d_tangent_winograd(const float *x, const float *w, const float *y,
                                       const float *tx, const float *tw, const float *tb,
                                       int stride0, int stride1, int padding0, int padding1,
                                       int dilation0, int dilation1, int groups, int act,
                                       float slope, float *work, float *ty, int C, int H, int N,
                                       int O, int R, int S, int W, int c, int OH, int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    if (tx) {
        ws_winograd_correlate(tx, w, ws_winograd_large(w, O * R * S * C), C, 1, R * S * C,
                              -padding0, -padding1, 0, work, ty, N, H, W, C, OH, OW, O);
    }
    if (tw) {
        ws_winograd_correlate(x, tw, ws_winograd_large(tw, O * R * S * C), C, 1, R * S * C,
                              -padding0, -padding1, tx != NULL, work, ty, N, H, W, C, OH, OW, O);
    }
    ws_conv_pull(y, tb, act, slope, ty, N * OH * OW, O);
}

/* dx (N, H, W, C), overwritten, by Winograd's way: the correlation of dz with the taps turned round
 */
static void ws_conv2d_input_grad_winograd(const float *dz, const float *w, int stride0, int stride1,
                                          int padding0, int padding1, int dilation0, int dilation1,
                                          int groups, float *work, float *dx, int C, int H, int N,
                                          int O, int R, int S, int W, int c, int OH, int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    ws_winograd_correlate(dz, w + (R * S - 1) * C, ws_winograd_large(w, O * R * S * C), -C,
                          R * S * C, 1, padding0 - R + 1, padding1 - S + 1, 0, work, dx, N, OH, OW,
                          O, H, W, C);
}

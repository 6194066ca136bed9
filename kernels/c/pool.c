/* Pooling of images (N, H, W, C) over windows: the largest value, or the mean. Outputs, of the
   shape (N, OH, OW, C), say how many windows there are: padding at the bottom and on the right is
   what that needs. */

/* the pixel of image n's channel c, as an index */
static int ws_pixel(int n, int row, int column, int c, int H, int W, int C) {
    return ((n * H + row) * W + column) * C + c;
}

/* the largest number of a window that begins at (top, left), of one image and channel: the first of
   equals, and a NaN above all. place: where in the window it stood. Padding never wins. */
static float ws_largest(const float *x, int top, int left, int window0, int window1, int C, int H,
                        int W, uint16_t *place) {
    float best = 0.0F;
    int r, s, none = 1;
    for (r = 0; r < window0; ++r) {
        for (s = 0; s < window1; ++s) {
            const int row = top + r, column = left + s;
            if (row >= 0 && row < H && column >= 0 && column < W) {
                const float found = x[(row * W + column) * C];
                if (none || found > best || (found != found && best == best)) {
                    best = found;
                    *place = (uint16_t)(r * window1 + s);
                    none = 0;
                }
            }
        }
    }
    return best;
}

/* y = the largest of each window, index = where in the window it stood */
static void ws_max_pool_forward(const float *x, int window0, int window1, int stride0, int stride1,
                                int padding0, int padding1, uint16_t *index, float *y, int C, int H,
                                int N, int W, int OH, int OW) {
    int n, i, j, c;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; ++j) {
                for (c = 0; c < C; ++c) {
                    const int to = ws_pixel(n, i, j, c, OH, OW, C);
                    y[to] = ws_largest(x + n * H * W * C + c, i * stride0 - padding0,
                                       j * stride1 - padding1, window0, window1, C, H, W,
                                       index + to);
                }
            }
        }
    }
}

/* dx = dy put where its value came from, windows row by row; 0 elsewhere; V cotangents stacked */
static void ws_max_pool_backward(const uint16_t *index, const float *dy, int window0, int window1,
                                 int stride0, int stride1, int padding0, int padding1, float *dx,
                                 int C, int H, int N, int V, int W, int OH, int OW) {
    int n, i, j, c;
    (void)window0;
    ws_fill(0.0F, dx, V * N, H * W * C);
    for (n = 0; n < V * N; ++n) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; ++j) {
                for (c = 0; c < C; ++c) {
                    const int place = (int)index[ws_pixel(n % N, i, j, c, OH, OW, C)];
                    const int row = i * stride0 - padding0 + place / window1;
                    const int column = j * stride1 - padding1 + place % window1;
                    const int to = ws_pixel(n, row, column, c, H, W, C);
                    dx[to] = dx[to] + dy[ws_pixel(n, i, j, c, OH, OW, C)];
                }
            }
        }
    }
}

/* ty = tx where the value came from */
static void ws_max_pool_tangent(const uint16_t *index, const float *tx, int window0, int window1,
                                int stride0, int stride1, int padding0, int padding1, float *ty,
                                int C, int H, int N, int W, int OH, int OW) {
    int n, i, j, c;
    (void)window0;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; ++j) {
                for (c = 0; c < C; ++c) {
                    const int to = ws_pixel(n, i, j, c, OH, OW, C);
                    const int row = i * stride0 - padding0 + (int)index[to] / window1;
                    const int column = j * stride1 - padding1 + (int)index[to] % window1;
                    ty[to] = tx[ws_pixel(n, row, column, c, H, W, C)];
                }
            }
        }
    }
}

/* 1 / the pixels that window (i, j) counts, padding perhaps among them: rows_i and columns_j are
   where it begins, where it ends, and how many it counts */
static float ws_share(const int32_t *rows, const int32_t *columns, int i, int j) {
    return 1.0F / (float)(rows[3 * i + 2] * columns[3 * j + 2]);
}

/* y = the mean of each window, pixels row by row */
static void ws_average_pool_forward(const float *x, const int32_t *rows, const int32_t *columns,
                                    float *y, int C, int H, int N, int W, int OH, int OW) {
    int n, i, j, c;
    int32_t r, s;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; ++j) {
                const float share = ws_share(rows, columns, i, j);
                for (c = 0; c < C; ++c) {
                    float sum = 0.0F;
                    for (r = rows[3 * i]; r < rows[3 * i + 1]; ++r) {
                        for (s = columns[3 * j]; s < columns[3 * j + 1]; ++s) {
                            sum = sum + x[ws_pixel(n, (int)r, (int)s, c, H, W, C)];
                        }
                    }
                    y[ws_pixel(n, i, j, c, OH, OW, C)] = sum * share;
                }
            }
        }
    }
}

/* dx = each dy shared out evenly over its window; V cotangents stacked */
static void ws_average_pool_backward(const float *dy, const int32_t *rows, const int32_t *columns,
                                     float *dx, int C, int H, int N, int V, int W, int OH, int OW) {
    int n, i, j, c;
    int32_t r, s;
    ws_fill(0.0F, dx, V * N, H * W * C);
    for (n = 0; n < V * N; ++n) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; ++j) {
                const float share = ws_share(rows, columns, i, j);
                for (r = rows[3 * i]; r < rows[3 * i + 1]; ++r) {
                    for (s = columns[3 * j]; s < columns[3 * j + 1]; ++s) {
                        for (c = 0; c < C; ++c) {
                            const int to = ws_pixel(n, (int)r, (int)s, c, H, W, C);
                            const float from = dy[ws_pixel(n, i, j, c, OH, OW, C)];
                            dx[to] = WS_FMA(share, from, dx[to]);
                        }
                    }
                }
            }
        }
    }
}

/* Pooling of images (N, H, W, C) over windows: the largest value, or the mean. Outputs, of the
   shape (N, OH, OW, C), say how many windows there are: padding at the bottom and on the right is
   what that needs. */

/* the pixel of image n's channel c, as an index */
static int ws_pixel(int n, int row, int column, int c, int H, int W, int C) {
    return ((n * H + row) * W + column) * C + c;
}

/* y = the largest of each window, index = where in the window it stood: the first of equals, and a NaN
   above all. Padding never wins. */
static void ws_max_pool_forward(const float *x, int window0, int window1, int stride0, int stride1,
                                int padding0, int padding1, uint16_t *index, float *y, int C, int H,
                                int N, int W, int OH, int OW) {
    int n, i, j, c, r, s;
    for (n = 0; n < N; ++n, x += H * W * C) {
        for (i = 0; i < OH; ++i) {
            const int top = i * stride0 - padding0;
            const int r0 = top < 0 ? -top : 0, r1 = H - top < window0 ? H - top : window0;
            for (j = 0; j < OW; ++j) {
                const int left = j * stride1 - padding1;
                const int s0 = left < 0 ? -left : 0, s1 = W - left < window1 ? W - left : window1;
                const float *const first = x + ((top + r0) * W + left + s0) * C;
                for (c = 0; c < C; ++c) {
                    const float *pixel = first + c;
                    float best = *pixel;
                    int place = r0 * window1 + s0;
                    for (r = r0; r < r1; ++r, pixel += (W - s1 + s0) * C) {
                        for (s = s0; s < s1; ++s, pixel += C) {
                            if (!(*pixel <= best) && best == best) {
                                best = *pixel;
                                place = r * window1 + s;
                            }
                        }
                    }
                    *y++ = best;
                    *index++ = (uint16_t)place;
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

// Convolutions as matrix products whose left factor is read out of images: nothing is unrolled in
// memory. Images are NHWC, x (N, H, W, C), filters (O, R, S, C), y and dz (N, rows, columns, O).
//
// A `position` is a sample's row and column of y, numbered from 0 to N rows columns. A `tap` is a
// filter's row, column and channel, numbered as the filters lie in memory. At (position, tap) lies
// the number that this position sees there: of the image, or 0 outside. One reader, `Windows`, says
// so; a product over taps (forward) takes positions as its rows, one over positions (the weights'
// gradient) takes taps. So every product has the long axis as m and filters or channels as n.

// Division by a number that is the same for the whole launch, as a multiplication. For 0 <= a < 2^31
// and 2^s < d <= 2^(s + 1), a / d is a ceil(2^(32 + s) / d) / 2^(32 + s), rounded down; conv.py
// sends that `magic` number, and 0 for d = 1.
struct Divisor {
    int by;
    unsigned magic;
    int shift;

    __device__ Divisor(int d, unsigned number)
        : by(d), magic(number), shift(d > 1 ? 31 - __clz(d - 1) : 0) {}

    // One made here, without a long division: right as long as a d < 2^32.
    __device__ explicit Divisor(int d) : by(d), magic(d > 1 ? 0xffffffffu / d + 1 : 0), shift(0) {}

    __device__ int divide(int a) const
    {
        return magic ? int(__umulhi(unsigned(a), magic) >> shift) : a;
    }
};

// What every kernel is told of the sizes: conv.py's `geometry` has them in this order.
#define GEOMETRY                                                                                \
    int N, int H, int W, int C, int R, int S, int O, int rows, int columns, int down,           \
        int across, int top, int left, unsigned by_C, unsigned by_S, unsigned by_O,             \
        unsigned by_rows, unsigned by_columns

#define WINDOWS(images)                                                                         \
    {                                                                                           \
        images, H, W, C, N *rows *columns, R *S *C, down, across, top, left, {C, by_C},         \
            {S, by_S}, {rows, by_rows}, {columns, by_columns}                                   \
    }

enum { OUTSIDE = -(1 << 30) };  // a row that lies in no image, whatever a tap adds to it

// Offsets within an image are int, from image to image long long.
template <typename T>
struct Windows {
    const T* images;
    int H, W, C, positions, taps, down, across, top, left;
    Divisor by_C, by_S, by_rows, by_columns;

    struct Position {
        const T* corner;  // of the window; it may lie outside of the image
        int i, j;         // the corner's row and column
    };
    struct Tap {
        int offset, r, s;  // from the corner
    };

    __device__ Position position(int p) const
    {
        if (p >= positions) return {images, OUTSIDE, 0};
        const int line = by_columns.divide(p), n = by_rows.divide(line);
        const int i = (line - n * by_rows.by) * down - top;
        const int j = (p - line * by_columns.by) * across - left;
        return {images + (long long)n * (H * W * C) + (i * W + j) * C, i, j};
    }

    __device__ Tap tap(int k) const
    {
        const int pixel = by_C.divide(k), r = by_S.divide(pixel);
        const int c = k - pixel * C, s = pixel - r * by_S.by;
        return {(r * W + s) * C + c, r, s};
    }

    __device__ T look(const Position& at, const Tap& tap, T outside) const
    {
        const int i = at.i + tap.r, j = at.j + tap.s;
        const bool inside = unsigned(i) < unsigned(H) && unsigned(j) < unsigned(W);
        return inside ? at.corner[tap.offset] : outside;
    }
};

template <typename T>
struct ByPosition : Windows<T> {
    enum { ALONG_K = 1 };
    typedef typename Windows<T>::Position Row;
    typedef typename Windows<T>::Tap Step;

    __device__ Row row(int p) const { return this->position(p); }
    __device__ Step step(int k) const { return this->tap(k); }
    __device__ T read(const Row& row, const Step& at) const { return this->look(row, at, T(0)); }
};

// The tap after the last one sees a 1 everywhere: it is the bias's, whose gradient is so one more
// row of the product.
template <typename T>
struct ByTap : Windows<T> {
    enum { ALONG_K = 0 };
    struct Row {
        typename Windows<T>::Tap tap;
        T outside;
    };
    typedef typename Windows<T>::Position Step;

    __device__ Row row(int k) const
    {
        if (k < this->taps) return {this->tap(k), T(0)};
        return {{0, OUTSIDE, 0}, k == this->taps ? T(1) : T(0)};
    }
    __device__ Step step(int p) const { return this->position(p); }
    __device__ T read(const Row& row, const Step& at) const
    {
        return this->look(at, row.tap, row.outside);
    }
};

// y = f(x * w + b)
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_forward(GEOMETRY, const typename P::Real* __restrict__ x,
               const typename P::Real* __restrict__ w, const typename P::Real* __restrict__ b,
               int act, typename P::Real slope, typename P::Real* y)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, taps = R * S * C;
    const ByPosition<T> windows{WINDOWS(x)};
    P product;
    product.clear();
    product.add(stage, windows, AlongK<T>{w, taps, O}, m0, n0, 0, taps);
    product.combine(stage);
    product.each(m0, n0, windows.positions, O, [=](int p, int o, T z) {
        y[(long long)p * O + o] = activate(act, slope, b ? z + b[o] : z);
    });
}

// ty = f'(y) (tx * w + x * tw + tb); tx, or tw and tb, may be null
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_tangent(GEOMETRY, const typename P::Real* __restrict__ x,
               const typename P::Real* __restrict__ w, const typename P::Real* __restrict__ y,
               const typename P::Real* __restrict__ tx, const typename P::Real* __restrict__ tw,
               const typename P::Real* __restrict__ tb, int act, typename P::Real slope,
               typename P::Real* ty)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, taps = R * S * C;
    ByPosition<T> windows{WINDOWS(x)};
    P product;
    product.clear();
    // A loop over the two, for the code of a product is long.
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
        const T* filters = turn ? tw : w;
        windows.images = turn ? x : tx;
        if (filters && windows.images)
            product.add(stage, windows, AlongK<T>{filters, taps, O}, m0, n0, 0, taps);
    }
    product.combine(stage);
    product.each(m0, n0, windows.positions, O, [=](int p, int o, T tz) {
        const long long at = (long long)p * O + o;
        ty[at] = pull(act, slope, y[at], tb ? tz + tb[o] : tz);
    });
}

// ---- the gradient of the input ------------------------------------------------------------------

// With strides, a pixel of x meets only some taps: those whose row is (pixel's row + top) modulo
// `down`, and columns likewise. Pixels that agree in this are a `phase`, a product of its own.
// Along one axis:
struct Phase {
    int tap, taps;      // the first tap, and how many there are, `stride` apart
    int pixel, pixels;  // the same of pixels
    int first;          // the position where the first pixel meets the first tap

    __device__ Phase(int number, int stride, int padding, int kernel, int size)
    {
        tap = number;
        taps = kernel > tap ? (kernel - tap + stride - 1) / stride : 0;
        pixel = (tap - padding % stride + stride) % stride;
        pixels = size > pixel ? (size - pixel + stride - 1) / stride : 0;
        first = (pixel + padding - tap) / stride;
    }
};

// dz as the pixels of a phase see it: the u-th tap of a pixel t is met at position first + t - u.
// Steps run over taps and filters, filters innermost.
template <typename T>
struct ByPixel {
    enum { ALONG_K = 1 };
    const T* dz;
    int N, rows, columns, O;
    Phase vertical, horizontal;
    Divisor by_O, by_taps;

    struct Row {
        const T* corner;  // dz at the position of tap 0; it may lie outside
        int i, j;
    };
    struct Step {
        int offset, u, v;
    };

    __device__ Row row(int m) const
    {
        if (m >= N * vertical.pixels * horizontal.pixels) return {dz, OUTSIDE, 0};
        const int line = m / horizontal.pixels, n = line / vertical.pixels;
        const int i = vertical.first + line - n * vertical.pixels;
        const int j = horizontal.first + m - line * horizontal.pixels;
        return {dz + (long long)n * (rows * columns * O) + (i * columns + j) * O, i, j};
    }

    __device__ Step step(int k) const
    {
        const int pixel = by_O.divide(k), u = by_taps.divide(pixel);
        const int o = k - pixel * O, v = pixel - u * by_taps.by;
        return {o - (u * columns + v) * O, u, v};
    }

    __device__ T read(const Row& row, const Step& at) const
    {
        const int i = row.i - at.u, j = row.j - at.v;
        const bool inside = unsigned(i) < unsigned(rows) && unsigned(j) < unsigned(columns);
        return inside ? row.corner[at.offset] : T(0);
    }
};

// The filters at the taps of a phase, with channels as rows.
template <typename T>
struct ByChannel {
    enum { ALONG_K = 0 };
    typedef int Row;  // negative beyond the last channel
    typedef const T* Step;
    const T* w;
    int R, S, C, down, across, O;
    Phase vertical, horizontal;
    Divisor by_O, by_taps;

    __device__ Row row(int c) const { return c < C ? c : -1; }
    __device__ Step step(int k) const
    {
        const int pixel = by_O.divide(k), u = by_taps.divide(pixel);
        const int o = k - pixel * O, v = pixel - u * by_taps.by;
        const int r = vertical.tap + u * down, s = horizontal.tap + v * across;
        return w + ((long long)(o * R + r) * S + s) * C;
    }
    __device__ T read(Row c, Step at) const { return c >= 0 ? at[c] : T(0); }
};

// dx = the transposed convolution of dz. blockIdx.z: the phase.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_input_grad(GEOMETRY, const typename P::Real* __restrict__ dz,
                  const typename P::Real* __restrict__ w, typename P::Real* dx)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    const Phase vertical(blockIdx.z / across, down, top, R, H);
    const Phase horizontal(blockIdx.z % across, across, left, S, W);
    const int pixels = N * vertical.pixels * horizontal.pixels;
    if (m0 >= pixels) return;  // the grid covers the largest phase
    const Divisor by_filters(O, by_O), by_taps(horizontal.taps);
    const ByPixel<T> left_factor{dz, N, rows, columns, O, vertical, horizontal, by_filters, by_taps};
    const ByChannel<T> filters{w, R, S, C, down, across, O, vertical, horizontal, by_filters,
                               by_taps};
    P product;
    product.clear();
    product.add(stage, left_factor, filters, m0, n0, 0, vertical.taps * horizontal.taps * O);
    product.combine(stage);
    product.each(m0, n0, pixels, C, [=](int m, int c, T g) {
        long long pixel = m;
        if (down * across > 1) {
            const int line = m / horizontal.pixels, n = line / vertical.pixels;
            const int i = vertical.pixel + (line - n * vertical.pixels) * down;
            const int j = horizontal.pixel + (m - line * horizontal.pixels) * across;
            pixel = ((long long)n * H + i) * W + j;
        }
        dx[pixel * C + c] = g;
    });
}

// ---- the gradients of filters and bias ----------------------------------------------------------

// Write a tile of (tap, filter) sums. With `work`, where blockIdx.z has its part, side by side along
// filters; without, into dw = beta dw + sums, and db likewise where there is one.
template <class P, typename T>
__device__ void deliver(P& product, int m0, int n0, int taps, int O, T beta, T* work, T* dw, T* db)
{
    const int all = taps + (db ? 1 : 0);
    if (work) {
        T* part = work + (long long)blockIdx.z * all * O;
        product.each(m0, n0, all, O, [=](int tap, int o, T g) { part[tap * O + o] = g; });
    } else {
        product.each(m0, n0, all, O, [=](int tap, int o, T g) {
            blend(tap < taps ? dw + (long long)o * taps + tap : db + o, beta, g);
        });
    }
}

// The sums over positions, in parts of `part` of them: what comes of a part waits in `work` for
// conv2d_gather, so the split, and with it every bit of the result, depends on the shapes alone.
// Where there is one part only, work is null and nothing waits.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_weight_grad(GEOMETRY, const typename P::Real* __restrict__ x,
                   const typename P::Real* __restrict__ dz, int part, typename P::Real beta,
                   typename P::Real* work, typename P::Real* dw, typename P::Real* db)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    const ByTap<T> windows{WINDOWS(x)};
    const int begin = blockIdx.z * part, end = min(begin + part, windows.positions);
    P product;
    product.clear();
    product.add(stage, windows, AcrossK<T>{dz, O, O}, m0, n0, begin, end);
    product.combine(stage);
    deliver(product, m0, n0, windows.taps, O, beta, work, dw, db);
}

// Each sample's own gradient, overwritten; samples lie dw_stride and db_stride apart.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_sample_grads(GEOMETRY, const typename P::Real* __restrict__ x,
                    const typename P::Real* __restrict__ dz, typename P::Real* dw,
                    long long dw_stride, typename P::Real* db, long long db_stride)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, area = rows * columns;
    const ByTap<T> windows{WINDOWS(x)};
    for (int n = blockIdx.z; n < N; n += gridDim.z) {
        P product;
        product.clear();
        product.add(stage, windows, AcrossK<T>{dz, O, O}, m0, n0, n * area, (n + 1) * area);
        product.combine(stage);
        deliver(product, m0, n0, windows.taps, O, T(0), (T*)nullptr, dw + n * dw_stride,
                db ? db + n * db_stride : db);
    }
}

// dw += sum over v, n of |g|**power, g the gradient of sample n for cotangent v: a tile of it is
// formed, raised and added to a second tile, and never leaves the registers. blockIdx.z: a group
// of samples; as above, several groups wait in `work`.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_accumulate(GEOMETRY, int V, const typename P::Real* __restrict__ x,
                  const typename P::Real* __restrict__ dz, int power, typename P::Real* work,
                  typename P::Real* dw, typename P::Real* db)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, area = rows * columns;
    const ByTap<T> windows{WINDOWS(x)};
    const int share = (V * N + gridDim.z - 1) / gridDim.z;
    const int last = min(int(blockIdx.z + 1) * share, V * N);
    P total;
    total.clear();
    for (int sample = blockIdx.z * share; sample < last; ++sample) {
        const int n = sample % N;
        const T* cotangent = dz + (long long)(sample - n) * area * O;
        P product;
        product.clear();
        product.add(stage, windows, AcrossK<T>{cotangent, O, O}, m0, n0, n * area, (n + 1) * area);
        product.combine(stage);
        total.add_raised(product, power);
    }
    deliver(total, m0, n0, windows.taps, O, T(1), work, dw, db);
}

// dw = beta dw + the sum of the parts in `work`, and db likewise. A block has 32 sums; its rows of
// threads take every so-many-th part, and are put together in order.
template <typename T>
__global__ void __launch_bounds__(1024)
conv2d_gather(int parts, int taps, int O, const T* __restrict__ work, T beta, T* dw, T* db)
{
    __shared__ T shares[32][33];
    const int all = (taps + (db ? 1 : 0)) * O, at = blockIdx.x * 32 + threadIdx.x;
    T share = T(0);
    if (at < all)
        for (int part = threadIdx.y; part < parts; part += blockDim.y)
            share += work[(long long)part * all + at];
    shares[threadIdx.y][threadIdx.x] = share;
    __syncthreads();
    if (threadIdx.y == 0 && at < all) {
        T total = T(0);
        for (int i = 0; i < blockDim.y; ++i) total += shares[i][threadIdx.x];
        const int tap = at / O, o = at % O;
        blend(tap < taps ? dw + (long long)o * taps + tap : db + o, beta, total);
    }
}

// ---- the signal ---------------------------------------------------------------------------------

// out (groups, size): |a| summed over each group's samples of a (N, size). blockIdx.y: the group.
template <typename T>
__global__ void conv2d_fold(long long size, int N, const T* __restrict__ a, T* out)
{
    const int share = (N + gridDim.y - 1) / gridDim.y;
    const int begin = blockIdx.y * share, end = min(begin + share, N);
    for (long long at = thread_index(); at < size; at += thread_count()) {
        T sum = T(0);
        for (int n = begin; n < end; ++n) sum += fabs(a[n * size + at]);
        out[blockIdx.y * size + at] = sum;
    }
}

// From the folded samples of x and of y: dw += |w| sum of what each tap sees, db += sum of y.
// A block has 32 channels of a tap's row and column, or, the last ones, 32 filters of db.
template <typename T>
__global__ void __launch_bounds__(1024)
conv2d_signal(GEOMETRY, int x_groups, int y_groups, const T* __restrict__ x,
              const T* __restrict__ y, const T* __restrict__ w, T* dw, T* db)
{
    __shared__ T shares[32][33];
    const int chunks = (C + 31) / 32, weight_blocks = R * S * chunks;
    const bool bias = blockIdx.x >= weight_blocks;
    const int chunk = bias ? blockIdx.x - weight_blocks : blockIdx.x % chunks;
    const int pixel = blockIdx.x / chunks, r = pixel / S, s = pixel % S;
    const int c = chunk * 32 + threadIdx.x;
    T share = T(0);
    if (c < (bias ? O : C))
        for (int p = threadIdx.y; p < rows * columns; p += blockDim.y) {
            if (bias) {
                for (int g = 0; g < y_groups; ++g)
                    share += y[((long long)g * rows * columns + p) * O + c];
            } else {
                const int i = p / columns * down - top + r, j = p % columns * across - left + s;
                if (unsigned(i) < unsigned(H) && unsigned(j) < unsigned(W))
                    for (int g = 0; g < x_groups; ++g)
                        share += x[(((long long)g * H + i) * W + j) * C + c];
            }
        }
    shares[threadIdx.y][threadIdx.x] = share;
    __syncthreads();
    T total = T(0);
    for (int i = 0; i < blockDim.y; ++i) total += shares[i][threadIdx.x];
    if (bias) {
        if (c < O && threadIdx.y == 0) db[c] += total;
    } else if (c < C) {
        for (int o = threadIdx.y; o < O; o += blockDim.y) {
            const long long at = ((long long)o * R * S + pixel) * C + c;
            dw[at] += fabs(w[at]) * total;
        }
    }
}

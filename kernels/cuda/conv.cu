// A convolution's products in training; conv.cuh says how they read images.

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
    const ByPosition<P> windows{WINDOWS(x)};
    P product;
    product.clear();
    product.add(stage, windows, AlongK<P>{w, taps, O}, m0, n0, 0, taps);
    product.each(m0, n0, windows.positions, O, [=](int p, int o, T z) {
        y[(long long)p * O + o] = activate(act, slope, b ? z + b[o] : z);
    });
}

// ---- the gradient of the input ------------------------------------------------------------------

// With strides, a pixel of x meets only some taps: those whose row is (pixel's row + top) modulo
// `down`, and columns likewise. Pixels that agree in this are a `phase`, a product of its own.
// Along one axis, taps of the filter lying `dilation` pixels apart:
struct Phase {
    int tap, taps, step;  // the first tap, how many there are, and from one to the next
    int pixel, pixels;    // the first pixel, and how many, `stride` apart
    int first, apart;     // where the first pixel meets the first tap; positions from tap to tap

    __device__ Phase(int number, int stride, int padding, int dilation, int kernel, int size)
    {
        int common = stride;
        while (stride % common || dilation % common) --common;
        step = stride / common;
        apart = dilation / common;
        for (tap = 0; tap < step && (number - tap * dilation) % stride; ++tap) {}
        taps = tap < step && kernel > tap ? (kernel - tap + step - 1) / step : 0;
        pixel = (number - padding % stride + stride) % stride;
        pixels = size > pixel ? (size - pixel + stride - 1) / stride : 0;
        first = (pixel + padding - tap * dilation) / stride;
    }
};

// dz as the pixels of a phase see it: pixel t meets its u-th tap at position first + t - u apart.
// Steps run over taps and filters, filters innermost; the last tap comes first, so that positions
// ascend.
template <class P>
struct ByPixel {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = true;
    static constexpr int PIECE = P::PIECE;
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
        const int pixel = by_O.divide(k), line = by_taps.divide(pixel);
        const int o = k - pixel * O, u = (vertical.taps - 1 - line) * vertical.apart;
        const int v = (by_taps.by - 1 - (pixel - line * by_taps.by)) * horizontal.apart;
        return {o - (u * columns + v) * O, u, v};
    }

    __device__ void read(T (&to)[PIECE], const Row& row, const Step& at, bool wanted) const
    {
        const int i = row.i - at.u, j = row.j - at.v;
        const bool inside = unsigned(i) < unsigned(rows) && unsigned(j) < unsigned(columns);
        fill(to, T(0));
        load_if(to, wanted && inside, row.corner + at.offset);
    }
};

// The filters at the taps of a phase, with channels as rows.
template <class P>
struct ByChannel {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = false;
    static constexpr int PIECE = P::PIECE;
    typedef int Row;  // negative beyond the last channel
    typedef const T* Step;
    const T* w;
    int R, S, C, O;
    Phase vertical, horizontal;
    Divisor by_O, by_taps;

    __device__ Row row(int c) const { return c < C ? c : -1; }
    __device__ Step step(int k) const
    {
        const int pixel = by_O.divide(k), line = by_taps.divide(pixel);
        const int o = k - pixel * O, u = vertical.taps - 1 - line;
        const int v = by_taps.by - 1 - (pixel - line * by_taps.by);
        const int r = vertical.tap + u * vertical.step, s = horizontal.tap + v * horizontal.step;
        return w + ((long long)(o * R + r) * S + s) * C;
    }
    __device__ void read(T (&to)[PIECE], Row c, Step at, bool inside) const
    {
        fill(to, T(0));
        load_if(to, inside && c >= 0, at + c);
    }
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
    const Phase vertical(blockIdx.z / across, down, top, tap_down, R, H);
    const Phase horizontal(blockIdx.z % across, across, left, tap_across, S, W);
    const int pixels = N * vertical.pixels * horizontal.pixels;
    if (m0 >= pixels) return;  // the grid covers the largest phase
    const Divisor by_filters(O, by_O), by_taps(horizontal.taps);
    const ByPixel<P> cotangents{dz,       N,          rows,       columns, O,
                                          vertical, horizontal, by_filters, by_taps};
    const ByChannel<P> filters{w, R, S, C, O, vertical, horizontal, by_filters, by_taps};
    P product;
    product.clear();
    product.add(stage, cotangents, filters, m0, n0, 0, vertical.taps * horizontal.taps * O);
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

// The sums over positions, in groups of samples: blockIdx.z has its group, whose sums wait in `work`
// for conv2d_gather. How many groups there are, and with it every bit of the result, depends on the
// shapes alone. Where there is one group only, work is null and nothing waits.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_weight_grad(GEOMETRY, const typename P::Real* __restrict__ x,
                   const typename P::Real* __restrict__ dz, typename P::Real beta,
                   typename P::Real* work, typename P::Real* dw, typename P::Real* db)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    const ByTap<P> windows{WINDOWS(x)};
    const Group group(N);
    const int area = rows * columns, begin = group.begin * area, end = group.end * area;
    P product;
    product.clear();
    product.add(stage, windows, AcrossK<P>{dz, O, O}, m0, n0, begin, end);
    deliver(product, m0, n0, windows.taps, O, beta, work, dw, db);
}

// Convolutions with groups, one thread a result: it goes along its own chain, in the order of the
// products of conv.cu. Neighbouring threads have neighbouring filters (or channels), so that those of
// a depthwise convolution read and write side by side.

// What GEOMETRY says, of one group too.
struct Places {
    int H, W, C, R, S, O, rows, columns, down, across, top, left, tap_down, tap_across;
    int each, filters;  // channels and filters of a group

    // The image's row that a position's tap sees; columns likewise.
    __device__ int row(int i, int r) const { return i * down - top + r * tap_down; }
    __device__ int column(int j, int s) const { return j * across - left + s * tap_across; }
    __device__ bool inside(int row, int column) const
    {
        return unsigned(row) < unsigned(H) && unsigned(column) < unsigned(W);
    }
};

// PLACES, the names of GEOMETRY that a Places begins with, is a macro of conv.py.

// sum, and on from there the chain over what filter o sees of image x (H, W, C) from position (i, j).
template <typename T>
__device__ T look_on(const Places& at, const T* __restrict__ x, const T* __restrict__ w, int i,
                     int j, int o, T sum)
{
    x += o / at.filters * at.each;
    w += (long long)o * at.R * at.S * at.each;
    for (int r = 0; r < at.R; ++r)
        for (int s = 0; s < at.S; ++s, w += at.each) {
            const int row = at.row(i, r), column = at.column(j, s);
            const bool inside = at.inside(row, column);
            const T* pixel = x + (row * at.W + column) * at.C;
            for (int c = 0; c < at.each; ++c) sum = fma(inside ? pixel[c] : T(0), w[c], sum);
        }
    return sum;
}

// A result's sample, row, column and channel, from its number in an (N, rows, columns, depth) array.
struct Result {
    int n, i, j, channel;
    __device__ Result(long long number, int rows, int columns, int depth)
    {
        const long long position = number / depth, line = position / columns;
        channel = int(number - position * depth);
        j = int(position - line * columns);
        n = int(line / rows);
        i = int(line - (long long)n * rows);
    }
};

// y = f(x * w + b)
template <typename T>
__global__ void conv2d_groups_forward(long long count, GEOMETRY, const T* __restrict__ x,
                                      const T* __restrict__ w, const T* __restrict__ b, int act,
                                      T slope, T* y)
{
    const Places at{PLACES, C / groups, O / groups};
    for (long long k = thread_index(); k < count; k += thread_count()) {
        const Result to(k, rows, columns, O);
        const long long image = (long long)to.n * H * W * C;
        const T z = look_on(at, x + image, w, to.i, to.j, to.channel, T(0));
        y[k] = activate(act, slope, b ? z + b[to.channel] : z);
    }
}

// ty = f'(y) (tx * w + x * tw + tb); tx, or tw and tb, may be null
template <typename T>
__global__ void conv2d_groups_tangent(long long count, GEOMETRY, const T* __restrict__ x,
                                      const T* __restrict__ w, const T* __restrict__ y,
                                      const T* __restrict__ tx, const T* __restrict__ tw,
                                      const T* __restrict__ tb, int act, T slope, T* ty)
{
    const Places at{PLACES, C / groups, O / groups};
    for (long long k = thread_index(); k < count; k += thread_count()) {
        const Result to(k, rows, columns, O);
        const long long image = (long long)to.n * H * W * C;
        T tz = T(0);
        if (tx) tz = look_on(at, tx + image, w, to.i, to.j, to.channel, tz);
        if (tw) tz = look_on(at, x + image, tw, to.i, to.j, to.channel, tz);
        ty[k] = pull(act, slope, y[k], tb ? tz + tb[to.channel] : tz);
    }
}

// dx = the transposed convolution of dz: the last tap first, so that positions ascend.
template <typename T>
__global__ void conv2d_groups_input_grad(long long count, GEOMETRY, const T* __restrict__ dz,
                                         const T* __restrict__ w, T* dx)
{
    const int each = C / groups, filters = O / groups;
    for (long long k = thread_index(); k < count; k += thread_count()) {
        const Result to(k, H, W, C);
        const int first = to.channel / each * filters, c = to.channel % each;
        T sum = T(0);
        for (int r = R - 1; r >= 0; --r) {
            const int y = to.i + top - r * tap_down, i = y / down;
            if (y % down) continue;
            for (int s = S - 1; s >= 0; --s) {
                const int x = to.j + left - s * tap_across, j = x / across;
                if (x % across) continue;
                const bool inside = unsigned(i) < unsigned(rows) && unsigned(j) < unsigned(columns);
                const T* from = dz + (((long long)to.n * rows + i) * columns + j) * O + first;
                for (int o = 0; o < filters; ++o) {
                    const T weight = w[(((long long)(first + o) * R + r) * S + s) * each + c];
                    sum = fma(inside ? from[o] : T(0), weight, sum);
                }
            }
        }
        dx[k] = sum;
    }
}

// ---- the gradients of filters and bias ----------------------------------------------------------

// An entry of a filter, or, after the last one, its bias: numbers run over filters first.
struct Entry {
    int o, tap, r, s, channel;
    __device__ Entry(const Places& at, long long number)
    {
        o = int(number % at.O);
        tap = int(number / at.O);
        const int pixel = tap / at.each;
        r = pixel / at.S;
        s = pixel - r * at.S;
        channel = o / at.filters * at.each + tap - pixel * at.each;
    }
};

// sum, and on from there the chain over the positions of a sample, dz (rows, columns, O).
template <typename T>
__device__ T gather_on(const Places& at, const Entry& entry, const T* __restrict__ x,
                       const T* __restrict__ dz, T sum)
{
    const bool bias = entry.r == at.R;
    for (int i = 0; i < at.rows; ++i)
        for (int j = 0; j < at.columns; ++j) {
            const int row = at.row(i, entry.r), column = at.column(j, entry.s);
            T seen = T(bias);
            if (!bias && at.inside(row, column))
                seen = x[(row * at.W + column) * at.C + entry.channel];
            sum = fma(dz[(i * at.columns + j) * at.O + entry.o], seen, sum);
        }
    return sum;
}

// As `deliver` of conv.cuh: one entry's sum.
template <typename T>
__device__ void hand_over(const Places& at, const Entry& entry, long long count, T g, T beta,
                          T* work, T* dw, T* db)
{
    const int taps = at.R * at.S * at.each;
    if (work) {
        work[blockIdx.z * count + (long long)entry.tap * at.O + entry.o] = g;
    } else {
        T* to = entry.tap < taps ? dw + (long long)entry.o * taps + entry.tap : db + entry.o;
        *to = kept(beta, to) + g;
    }
}

// blockIdx.z: a group of samples, as in conv2d_weight_grad.
template <typename T>
__global__ void conv2d_groups_weight_grad(long long count, GEOMETRY, const T* __restrict__ x,
                                          const T* __restrict__ dz, T beta, T* work, T* dw, T* db)
{
    const Places at{PLACES, C / groups, O / groups};
    const Group samples(N);
    for (long long k = thread_index(); k < count; k += thread_count()) {
        const Entry entry(at, k);
        T sum = T(0);
        for (int n = samples.begin; n < samples.end; ++n)
            sum = gather_on(at, entry, x + (long long)n * H * W * C,
                            dz + (long long)n * rows * columns * O, sum);
        hand_over(at, entry, count, sum, beta, work, dw, db);
    }
}

// Each sample's own gradient, overwritten; samples lie dw_stride and db_stride apart.
template <typename T>
__global__ void conv2d_groups_sample_grads(long long count, GEOMETRY, const T* __restrict__ x,
                                           const T* __restrict__ dz, T* dw, long long dw_stride,
                                           T* db, long long db_stride)
{
    const Places at{PLACES, C / groups, O / groups};
    for (int n = blockIdx.z; n < N; n += gridDim.z)
        for (long long k = thread_index(); k < count; k += thread_count()) {
            const Entry entry(at, k);
            const T g = gather_on(at, entry, x + (long long)n * H * W * C,
                                  dz + (long long)n * rows * columns * O, T(0));
            hand_over(at, entry, count, g, T(0), (T*)nullptr, dw + n * dw_stride,
                      db ? db + n * db_stride : db);
        }
}

// dw += sum over n, v of |g|**power, g the gradient of sample n for cotangent v.
template <typename T>
__global__ void conv2d_groups_accumulate(long long count, GEOMETRY, int V, const T* __restrict__ x,
                                         const T* __restrict__ dz, int power, T* work, T* dw, T* db)
{
    const Places at{PLACES, C / groups, O / groups};
    const Group samples(N);
    for (long long k = thread_index(); k < count; k += thread_count()) {
        const Entry entry(at, k);
        T total = T(0);
        for (int n = samples.begin; n < samples.end; ++n)
            for (int v = 0; v < V; ++v) {
                const long long map = ((long long)v * N + n) * rows * columns * O;
                const T g = gather_on(at, entry, x + (long long)n * H * W * C, dz + map, T(0));
                total = add_raised(power, g, total);
            }
        hand_over(at, entry, count, total, T(1), work, dw, db);
    }
}

// Elementwise kernels: activations, the residual sum, dropout. All of them are as fast as memory.

// y = f(x)
template <typename T>
__global__ void activation_forward(long long count, int act, T slope, const T* x, T* y)
{
    each_pack<T>(count, aligned(x, y), [=](auto size, long long i) {
        auto z = load<decltype(size)::value>(x + i);
        for (T& value : z.at) value = activate(act, slope, value);
        store(y + i, z);
    });
}

// dx = f'(y) dy; dy may hold several cotangents stacked over the `period` elements of y.
template <typename T>
__global__ void activation_backward(long long count, long long period, int act, T slope,
                                    const T* y, const T* dy, T* dx)
{
    const bool once = period == count;
    const bool packed = aligned(y, dy, dx) && (once || aligned(y + period));
    each_pack<T>(count, packed, [=](auto size, long long i) {
        enum { SIZE = decltype(size)::value };
        const auto out = load<SIZE>(y + (once ? i : i % period));
        auto d = load<SIZE>(dy + i);
        for (int j = 0; j < SIZE; ++j) d.at[j] = pull(act, slope, out.at[j], d.at[j]);
        store(dx + i, d);
    });
}

// y = value
template <typename T>
__global__ void fill(long long count, T value, T* y)
{
    each_pack<T>(count, aligned(y), [=](auto size, long long i) {
        Pack<T, decltype(size)::value> z;
        for (T& at : z.at) at = value;
        store(y + i, z);
    });
}

// y = factor x; y may be x.
template <typename T>
__global__ void scale(long long count, T factor, const T* x, T* y)
{
    each_pack<T>(count, aligned(x, y), [=](auto size, long long i) {
        auto z = load<decltype(size)::value>(x + i);
        for (T& value : z.at) value *= factor;
        store(y + i, z);
    });
}

// y = x times 1 / divisor, rounded; 0 of a divisor 0. y may be x.
template <typename T>
__global__ void divide(long long count, const double* divisor, const T* x, T* y)
{
    const T share = *divisor == 0 ? T(0) : T(1 / *divisor);
    each_pack<T>(count, aligned(x, y), [=](auto size, long long i) {
        auto z = load<decltype(size)::value>(x + i);
        for (T& value : z.at) value *= share;
        store(y + i, z);
    });
}

// y = f(x + r); y may be x or r.
template <typename T>
__global__ void residual_forward(long long count, int act, T slope, const T* x, const T* r, T* y)
{
    each_pack<T>(count, aligned(x, r, y), [=](auto size, long long i) {
        enum { SIZE = decltype(size)::value };
        auto z = load<SIZE>(x + i);
        const auto more = load<SIZE>(r + i);
        for (int j = 0; j < SIZE; ++j) z.at[j] = activate(act, slope, z.at[j] + more.at[j]);
        store(y + i, z);
    });
}

// ty = f'(y) (tx + tr); ty may be tx or tr.
template <typename T>
__global__ void residual_tangent(long long count, int act, T slope, const T* y, const T* tx,
                                 const T* tr, T* ty)
{
    each_pack<T>(count, aligned(y, tx, tr, ty), [=](auto size, long long i) {
        enum { SIZE = decltype(size)::value };
        const auto out = load<SIZE>(y + i);
        auto z = load<SIZE>(tx + i);
        const auto more = load<SIZE>(tr + i);
        for (int j = 0; j < SIZE; ++j)
            z.at[j] = pull(act, slope, out.at[j], z.at[j] + more.at[j]);
        store(ty + i, z);
    });
}

// ---- dropout ------------------------------------------------------------------------------------

// Philox4x32-10 (Salmon et al. 2011): the four random words of a block number.
struct Philox {
    unsigned word[4];

    __device__ Philox(unsigned long long block, unsigned long long draw, unsigned long long seed)
        : word{(unsigned)block, (unsigned)(block >> 32), (unsigned)draw, (unsigned)(draw >> 32)}
    {
        unsigned k0 = seed, k1 = seed >> 32;
#pragma unroll
        for (int round = 0; round < 10; ++round) {
            const unsigned high0 = __umulhi(word[0], 0xD2511F53u), low0 = word[0] * 0xD2511F53u;
            const unsigned high1 = __umulhi(word[2], 0xCD9E8D57u), low1 = word[2] * 0xCD9E8D57u;
            word[0] = high1 ^ word[1] ^ k0;
            word[1] = low1;
            word[2] = high0 ^ word[3] ^ k1;
            word[3] = low0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
    }
};

// y = x scale where the unit's word is at least `least`, else 0; x, y (V, M). A thread draws for
// four units and serves all V rows with them. The number of the draw is *clock, if there is one: a
// CUDA graph replays the arguments that it was recorded with, but reads memory anew.
template <typename T>
__global__ void dropout(long long blocks, int V, long long M, unsigned least, T scale,
                        unsigned long long seed, const long long* clock, long long draw, const T* x,
                        T* y)
{
    const unsigned long long turn = clock ? *clock : draw;
    const bool packed = aligned(x, y) && (V == 1 || aligned(x + M));
    for (long long block = thread_index(); block < blocks; block += thread_count()) {
        const Philox random(block, turn, seed);
        T keep[4];
        for (int j = 0; j < 4; ++j) keep[j] = random.word[j] >= least ? scale : T(0);
        const int units = M - 4 * block < 4 ? M - 4 * block : 4;
#pragma unroll 1
        for (int v = 0; v < V; ++v) {
            const long long at = v * M + 4 * block;
            if (packed && units == 4) {
                auto values = load<4>(x + at);
                for (int j = 0; j < 4; ++j)
                    values.at[j] = keep[j] == T(0) ? T(0) : values.at[j] * keep[j];
                store(y + at, values);
            } else {
#pragma unroll
                for (int j = 0; j < 4; ++j)  // all four, so that `keep` stays in registers
                    if (j < units) y[at + j] = keep[j] == T(0) ? T(0) : x[at + j] * keep[j];
            }
        }
    }
}

// What all sources share. It is put before each of them as text, and nothing is included anywhere,
// so the same lines compile with NVRTC, with nvcc and, for tests without a GPU, with g++.
//
// T is float or double. Indices into arrays are long long; sizes of one axis are int.

enum Activation { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID };  // as in kernels/codes.py

// f(z). A comparison with NaN is false, so NaN falls through every rectifier unchanged.
template <typename T>
__device__ __forceinline__ T activate(int act, T slope, T z)
{
    switch (act) {
    case RELU: return z < T(0) ? T(0) : z;
    case LEAKY_RELU: return z < T(0) ? slope * z : z;
    case TANH: return hyperbolic_tangent(z);
    case SIGMOID: {
        const T e = exponential(-fabs(z));  // by the half that cannot overflow
        return (z < T(0) ? e : T(1)) / (T(1) + e);
    }
    default: return z;
    }
}

// f'(y) dy, the derivative written in the output y = f(z).
template <typename T>
__device__ __forceinline__ T pull(int act, T slope, T y, T dy)
{
    switch (act) {
    case RELU: return y > T(0) ? dy : T(0);
    case LEAKY_RELU: return y > T(0) ? dy : slope * dy;
    case TANH: return dy * fma(-y, y, T(1));
    case SIGMOID: return dy * y * (T(1) - y);
    default: return dy;
    }
}

// sum + |g|**power for power 1 and 2: what importances are made of.
template <typename T>
__device__ __forceinline__ T add_raised(int power, T g, T sum)
{
    return power == 2 ? fma(g, g, sum) : sum + fabs(g);
}

// beta old, where a sum that goes there begins; beta 0 means that old was never written and may be
// NaN, or that there is none.
template <typename T>
__device__ __forceinline__ T kept(T beta, const T* old)
{
    return beta == T(0) ? T(0) : beta * *old;
}

// A number with the mantissa cut to TF32's 10 bits (the nearest such number), as its bits.
__device__ __forceinline__ unsigned to_tf32(float value)
{
#ifdef CUDA_ON_HOST
    return coh_to_tf32(value);
#elif __CUDA_ARCH__ >= 800
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
#else
    return __float_as_uint(value);
#endif
}

// d += a b on a warp's tensor core: d is 16 x 8, a 16 x 8, b 8 x 8, spread over the lanes as PTX's
// mma.m16n8k8 says. Of a and b come numbers of `to_tf32`; sums are float.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4],
                                         const unsigned (&b)[2])
{
#ifdef CUDA_ON_HOST
    coh_mma_tf32(d, a, b);
#elif __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();  // allow_tf32 (tiles.py) on a GPU that has none
#endif
}

// This thread's number among all threads of the launch, and how many they are: for loops over
// elements with any grid.
__device__ __forceinline__ long long thread_index()
{
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ long long thread_count()
{
    return (long long)gridDim.x * blockDim.x;
}

// The same for kernels over places in rows (`Family.over_rows`): threads along x take neighbouring
// places of a row, those along y different rows. Both are int: a division of long longs, to find
// out where one is, would cost more than the work.
__device__ __forceinline__ int row_index() { return blockIdx.x * blockDim.y + threadIdx.y; }

__device__ __forceinline__ int row_count() { return gridDim.x * blockDim.y; }

__device__ __forceinline__ int place_index() { return blockIdx.y * blockDim.x + threadIdx.x; }

__device__ __forceinline__ int place_count() { return gridDim.y * blockDim.x; }

// A quotient of numbers that are not negative, and what is left.
struct Quotient {
    int whole, rest;

    __device__ __forceinline__ Quotient(int a, int b)
        : whole(unsigned(a) / unsigned(b)), rest(a - whole * b) {}
};

template <typename T>
__device__ __forceinline__ T infinity()
{
    return T(1) / T(0);
}

template <typename T>
__device__ __forceinline__ T not_a_number()
{
    return infinity<T>() - infinity<T>();
}

// The sum over the 32 lanes of a warp, and the largest: the same bits in all of them.
template <typename T>
__device__ __forceinline__ T warp_sum(T value)
{
    for (int apart = 16; apart; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
    return value;
}

template <typename T>
__device__ __forceinline__ T warp_largest(T value)
{
    for (int apart = 16; apart; apart /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, value, apart);
        value = other > value ? other : value;
    }
    return value;
}

// The number, or the pair of them, that another lane of the warp has.
template <typename T>
__device__ __forceinline__ T from_lane(T value, int lane)
{
    return __shfl_sync(0xffffffffu, value, lane);
}

// ---- packs: several numbers that cross memory as one --------------------------------------------
// Where bandwidth is the limit a thread should move 16 bytes at a time.

template <typename T, int SIZE>
struct alignas(sizeof(T) * SIZE < 16 ? sizeof(T) * SIZE : 16) Pack {
    T at[SIZE];
};

template <typename T>
__device__ __forceinline__ Pack<T, 2> from_lane(const Pack<T, 2>& pair, int lane)
{
    return {from_lane(pair.at[0], lane), from_lane(pair.at[1], lane)};
}

template <int SIZE, typename T>
__device__ __forceinline__ Pack<T, SIZE> load(const T* from)
{
    return *reinterpret_cast<const Pack<T, SIZE>*>(from);
}

template <int SIZE, typename T>
__device__ __forceinline__ void store(T* to, const Pack<T, SIZE>& pack)
{
    *reinterpret_cast<Pack<T, SIZE>*>(to) = pack;
}

// Whether 16 bytes may be moved at once from all these addresses. A null pointer does not mind.
template <class... Pointer>
__device__ __forceinline__ bool aligned(Pointer... pointers)
{
    return ((reinterpret_cast<unsigned long long>(pointers) | ...) & 15) == 0;
}

// A size that the compiler knows.
template <int SIZE>
struct Size {
    enum { value = SIZE };
};

// visit(size, i) for all elements i < count of vectors of T, `size` of them at once, from i on: 16
// bytes where `packed` allows it, one where it does not and at the end. Every thread of the launch
// takes packs a whole grid apart. In the visitor, `decltype(size)::value` is a constant.
template <typename T, class Visit>
__device__ __forceinline__ void each_pack(long long count, bool packed, Visit visit)
{
    enum { SIZE = 16 / sizeof(T) };
    const long long whole = packed ? count / SIZE * SIZE : 0;
    for (long long i = thread_index() * SIZE; i < whole; i += thread_count() * SIZE)
        visit(Size<SIZE>(), i);
#pragma unroll 1  // seldom more than a few
    for (long long i = whole + thread_index(); i < count; i += thread_count()) visit(Size<1>(), i);
}

// Sums down the columns of a table, for a launch whose blocks own 32 columns each (`over_columns`):
// out = add(... add(beta out, term(0, column)) ..., term(rows - 1, column)), always in the order of
// the rows. A block's rows of threads make terms side by side, and its first row adds them up. `out`
// may be null, where making the terms is all there is to do. All threads call it.
template <class Term, typename T, class Make, class Add>
__device__ void sum_down(int rows, int columns, T beta, T* out, Make term, Add add)
{
    __shared__ Term terms[32][33];
    const int column = blockIdx.x * 32 + threadIdx.x, down = blockDim.y;
    const bool inside = column < columns, adds = out && inside && threadIdx.y == 0;
    T sum = adds ? kept(beta, out + column) : T(0);
    for (int first = 0; first < rows; first += down) {
        const int row = first + threadIdx.y;
        if (row < rows && inside) terms[threadIdx.y][threadIdx.x] = term(row, column);
        if (!out) continue;
        __syncthreads();
        if (adds)
            for (int i = 0; i < min(down, rows - first); ++i)
                sum = add(sum, terms[i][threadIdx.x]);
        __syncthreads();
    }
    if (adds) out[column] = sum;
}

// How terms are added: as they are, or as products.
struct Plus {
    template <typename T>
    __device__ T operator()(T sum, T term) const { return sum + term; }
};

struct Times {
    template <typename T>
    __device__ T operator()(T sum, const Pack<T, 2>& term) const
    {
        return fma(term.at[0], term.at[1], sum);
    }
};

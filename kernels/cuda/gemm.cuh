// Matrix products with the reading and the writing left open: sum_k A(m, k) B(k, n) for any A and
// B that can say what lies at (m, k). A dense layer reads its arrays as they are, a convolution
// reads windows of images, an importance reads powers; the loop below is the same for all.
//
// A block computes a tile of BM x BN results. It walks along k in slices of BK: all threads bring
// the next slice of A and B into registers while the present one, in shared memory, is multiplied.
// A result is one chain over k = 0, 1, 2, ...: sum = fma(A(m, k), B(k, n), sum), begun at what the
// kernel says and never split, so its bits are the same in every tile, and those of the cpu.
//
// How the threads share the sums, and multiply a slice, says the tile's base class `Sums`:
// `FmaSums` or `MmaSums` (whose bits are their own). Readers of WIDE tiles bring pieces of 16 bytes,
// which takes a fraction of the instructions: their memory must be so aligned, and no piece partly
// outside.

enum Loads { SINGLE, WIDE };

// What becomes of a piece when it has arrived from memory, before it goes to shared memory: nothing,
// unless its reader has an overload. (Done as it is read, a thread would wait for it.)
template <class Reader, typename T, int PIECE, class Row>
__device__ __forceinline__ void arrived(const Reader& reader, T (&piece)[PIECE], const Row& row,
                                        int k, bool inside)
{
}

template <class Sums, Loads LOADS>
struct Tile : Sums {
    typedef typename Sums::Real T;
    static constexpr int PIECE = LOADS == WIDE ? 16 / sizeof(T) : 1;
    static constexpr int BM = Sums::BM, BN = Sums::BN, BK = Sums::BK, PAD = Sums::PAD;
    static constexpr int COUNT = Sums::COUNT, THREADS = Sums::THREADS;

    // A slice of A and B in shared memory. The first k of all pieces come first there, then the second
    // ones, and so on: so threads that store pieces along k write to neighbouring rows, which lie in
    // different banks.
    struct alignas(16) Stage {
        T a[BK][BM + PAD];
        T b[BK][BN + PAD];

        __device__ static int slot(int k) { return k % PIECE * (BK / PIECE) + k / PIECE; }
    };

    __device__ void clear()
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) this->sum[i] = T(0);
    }

    // Begin at at(m, n), for each result of the tile within rows x columns.
    template <class At>
    __device__ void start(int m0, int n0, int rows, int columns, At at)
    {
        clear();
        each(m0, n0, rows, columns, [&](int m, int n, T& sum) { sum = at(m, n); });
    }

    // sum += A B over begin <= k < end, for the tile whose first result is (m0, n0). All threads of
    // the block call it. `stage` may be used again right after.
    template <class A, class B>
    __device__ void add(Stage& stage, const A& a, const B& b, int m0, int n0, int begin, int end)
    {
        Fetch<A, BM> left(a, m0);
        Fetch<B, BN> right(b, n0);
        left.bring(begin, end);
        right.bring(begin, end);
        for (int k0 = begin; k0 < end; k0 += BK) {
            left.put(stage.a, k0, end);
            right.put(stage.b, k0, end);
            __syncthreads();
            if (k0 + BK < end) {
                left.bring(k0 + BK, end);
                right.bring(k0 + BK, end);
            }
            this->multiply(stage);
            __syncthreads();
        }
    }

    // sum += |other's sum|**power.
    __device__ void add_raised(const Tile& other, int power)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i)
            this->sum[i] = ::add_raised(power, other.sum[i], this->sum[i]);
    }

    // visit(m, n, sum) for each result of the tile within rows x columns.
    template <class Visit>
    __device__ void each(int m0, int n0, int rows, int columns, Visit visit)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int m = m0 + Sums::row_of(i), n = n0 + Sums::column_of(i);
            if (m < rows && n < columns) visit(m, n, this->sum[i]);
        }
    }

    // A thread's share of a slice, on its way from memory through registers to shared memory. The
    // reader says whether its memory, and so a piece, runs along k (ALONG_K) or across it, and
    // neighbouring threads follow it. So a thread meets one piece of k and several rows in each
    // slice, or several k and few pieces of rows; what a reader works out about a row is kept for
    // the whole product, and what it works out about a k serves the thread's rows.
    template <class Reader, int WIDTH>
    struct Fetch {
        static constexpr bool ALONG = Reader::ALONG_K;
        static constexpr int PIECES = WIDTH * BK / PIECE, LINE = (ALONG ? BK : WIDTH) / PIECE;
        static constexpr int BUSY = PIECES < THREADS ? PIECES : THREADS, EACH = PIECES / BUSY;
        static constexpr int LANES = LINE < 32 ? LINE : 32, PASS = BUSY / LANES;
        static constexpr int ROWS = ALONG ? EACH : LINE / LANES, STEPS = EACH / ROWS;
        static constexpr int NEXT_ROW = ALONG ? PASS : LANES * PIECE, NEXT_STEP = PASS;
        static_assert(Reader::PIECE == PIECE && BUSY % LANES == 0 && LINE % LANES == 0 &&
                          ROWS * STEPS * BUSY == PIECES,
                      "the threads must cover a slice in whole passes");

        const Reader& reader;
        typename Reader::Row rows[ROWS];
        T held[EACH][PIECE];
        int row, step;  // this thread's first row and k within a slice

        __device__ static bool busy() { return BUSY == THREADS || threadIdx.x < BUSY; }

        __device__ Fetch(const Reader& from, int first) : reader(from)
        {
            const int t = threadIdx.x;
            row = ALONG ? t / LANES : t % LANES * PIECE;
            step = ALONG ? t % LANES * PIECE : t / LANES;
#pragma unroll
            for (int i = 0; i < ROWS; ++i) rows[i] = reader.row(first + row + i * NEXT_ROW);
        }

        __device__ void bring(int k0, int end)
        {
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                const int k = k0 + step + s * NEXT_STEP;
                const bool inside = k < end && busy();
                const typename Reader::Step at = reader.step(inside ? k : 0);
#pragma unroll
                for (int i = 0; i < ROWS; ++i) reader.read(held[s * ROWS + i], rows[i], at, inside);
            }
        }

        // Into shared memory, what `bring` got for the same k0 and end.
        __device__ void put(T (&to)[BK][WIDTH + PAD], int k0, int end)
        {
            if (!busy()) return;
#pragma unroll
            for (int s = 0; s < STEPS; ++s)
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    T(&piece)[PIECE] = held[s * ROWS + i];
                    const int first = step + s * NEXT_STEP;
                    arrived(reader, piece, rows[i], k0 + first, k0 + first < end);
#pragma unroll
                    for (int e = 0; e < PIECE; ++e) {
                        const int k = first + (ALONG ? e : 0);
                        const int r = row + i * NEXT_ROW + (ALONG ? 0 : e);
                        to[Stage::slot(k)][r] = Sums::stored(piece[e]);
                    }
                }
        }
    };
};

// Sums by fused multiply-adds: each thread keeps TM x TN neighbouring ones.
template <typename T, int BM_, int BN_, int BK_, int TM, int TN>
struct FmaSums {
    typedef T Real;
    static constexpr int BM = BM_, BN = BN_, BK = BK_, COUNT = TM * TN;
    static constexpr int ACROSS = BN / TN, THREADS = (BM / TM) * ACROSS;
    static constexpr int PAD = 16 / sizeof(T);  // keeps rows apart in the banks, and aligned

    T sum[COUNT];

    __device__ static int row_of(int i) { return threadIdx.x / ACROSS * TM + i / TN; }
    __device__ static int column_of(int i) { return threadIdx.x % ACROSS * TN + i % TN; }
    __device__ static T stored(T value) { return value; }

    template <class Slice>
    __device__ void multiply(const Slice& slice)
    {
        const int row = row_of(0), column = column_of(0);
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            T a[TM], b[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) a[i] = slice.a[Slice::slot(k)][row + i];
#pragma unroll
            for (int j = 0; j < TN; ++j) b[j] = slice.b[Slice::slot(k)][column + j];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j)
                    sum[i * TN + j] = fma(a[i], b[j], sum[i * TN + j]);
        }
    }
};

// Sums on the tensor cores, of float inputs rounded to TF32's 10 bits: a warp keeps 32 x 32, which
// is 2 x 4 of the 16 x 8 that one instruction adds to; that says how they lie in the lanes.
template <int BM_, int BN_, int BK_>
struct MmaSums {
    typedef float Real;
    static constexpr int BM = BM_, BN = BN_, BK = BK_, DOWN = 2, BESIDE = 4;
    static constexpr int COUNT = DOWN * BESIDE * 4;
    static constexpr int ACROSS = BN / 32, THREADS = BM / 32 * ACROSS * 32;
    static constexpr int PAD = 8;  // so 4 k of 8 neighbours, which a warp reads, lie in 32 banks

    float sum[COUNT];

    __device__ static int first_row()
    {
        return threadIdx.x / 32 / ACROSS * 32 + threadIdx.x % 32 / 4;
    }
    __device__ static int first_column() { return threadIdx.x / 32 % ACROSS * 32; }
    __device__ static int row_of(int i)
    {
        return first_row() + i / (4 * BESIDE) * 16 + i % 4 / 2 * 8;
    }
    __device__ static int column_of(int i)
    {
        return first_column() + i / 4 % BESIDE * 8 + threadIdx.x % 4 * 2 + i % 2;
    }
    __device__ static float stored(float value) { return __uint_as_float(to_tf32(value)); }

    template <class Slice>
    __device__ void multiply(const Slice& slice)
    {
        const int row = first_row(), column = first_column() + threadIdx.x % 32 / 4;
#pragma unroll
        for (int k0 = 0; k0 < BK; k0 += 8) {
            const int k = k0 + threadIdx.x % 4;
            unsigned a[DOWN][4], b[BESIDE][2];
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    a[i][e] = __float_as_uint(slice.a[k + e / 2 * 4][row + i * 16 + e % 2 * 8]);
#pragma unroll
            for (int j = 0; j < BESIDE; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e)
                    b[j][e] = __float_as_uint(slice.b[k + e * 4][column + j * 8]);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int j = 0; j < BESIDE; ++j) {
                    float* s = sum + (i * BESIDE + j) * 4;
                    float d[4] = {s[0], s[1], s[2], s[3]};
                    mma_tf32(d, a[i], b[j]);
#pragma unroll
                    for (int e = 0; e < 4; ++e) s[e] = d[e];
                }
        }
    }
};

// The tiles that are compiled; tiles.py chooses among them, and has their sizes too.
template <typename T, Loads LOADS = SINGLE>
using Small = Tile<FmaSums<T, 32, 32, 32, 2, 2>, LOADS>;
template <typename T, Loads LOADS = SINGLE>
using Medium = Tile<FmaSums<T, 64, 64, 16, 4, 4>, LOADS>;
template <typename T, Loads LOADS = SINGLE>
using Narrow = Tile<FmaSums<T, 64, 32, 16, 4, 4>, LOADS>;
template <typename T, Loads LOADS = SINGLE>
using Thin = Tile<FmaSums<T, 64, 16, 16, 4, 2>, LOADS>;
template <Loads LOADS>
using Tensor = Tile<MmaSums<128, 64, 16>, LOADS>;

// ---- readers of plain matrices, for the tile P --------------------------------------------------

// What lies at `from`, if it is wanted; otherwise `to` stays. The load is predicated, for a branch
// around each of them would cost more than what it skips.
template <typename T, int PIECE>
__device__ __forceinline__ void load_if(T (&to)[PIECE], bool wanted, const T* from)
{
#ifdef CUDA_ON_HOST
    struct alignas(sizeof(T) * PIECE) Piece {
        T of[PIECE];
    };
    if (!wanted) return;
    const Piece piece = *reinterpret_cast<const Piece*>(from);
    for (int e = 0; e < PIECE; ++e) to[e] = piece.of[e];
#else
    static_assert(PIECE == 1 || PIECE * sizeof(T) == 16, "one number or 16 bytes");
    if constexpr (sizeof(T) == 4 && PIECE == 1)
        asm("{.reg .pred p; setp.ne.s32 p, %1, 0; @p ld.global.nc.f32 %0, [%2];}"
            : "+f"(to[0]) : "r"(int(wanted)), "l"(from));
    else if constexpr (sizeof(T) == 4)
        asm("{.reg .pred p; setp.ne.s32 p, %4, 0; @p ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%5];}"
            : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3]) : "r"(int(wanted)), "l"(from));
    else if constexpr (PIECE == 1)
        asm("{.reg .pred p; setp.ne.s32 p, %1, 0; @p ld.global.nc.f64 %0, [%2];}"
            : "+d"(to[0]) : "r"(int(wanted)), "l"(from));
    else
        asm("{.reg .pred p; setp.ne.s32 p, %2, 0; @p ld.global.nc.v2.f64 {%0, %1}, [%3];}"
            : "+d"(to[0]), "+d"(to[1]) : "r"(int(wanted)), "l"(from));
#endif
}

template <typename T, int PIECE>
__device__ __forceinline__ void fill(T (&to)[PIECE], T value)
{
#pragma unroll
    for (int e = 0; e < PIECE; ++e) to[e] = value;
}

// A matrix whose rows (of m or n) lie `stride` apart and run along k.
template <class P>
struct AlongK {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = true;
    static constexpr int PIECE = P::PIECE;
    typedef const T* Row;  // null outside the matrix
    typedef int Step;
    const T* data;
    long long stride;
    int rows;

    __device__ Row row(int r) const { return r < rows ? data + r * stride : nullptr; }
    __device__ Step step(int k) const { return k; }
    __device__ void read(T (&to)[PIECE], Row row, Step k, bool inside) const
    {
        fill(to, T(0));
        load_if(to, inside && row, row + k);
    }
};

// A matrix stored the other way: at each k, neighbouring rows lie side by side.
template <class P>
struct AcrossK {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = false;
    static constexpr int PIECE = P::PIECE;
    typedef int Row;  // negative outside the matrix
    typedef const T* Step;
    const T* data;
    long long stride;
    int rows;

    __device__ Row row(int r) const { return r < rows ? r : -1; }
    __device__ Step step(int k) const { return data + k * stride; }
    __device__ void read(T (&to)[PIECE], Row row, Step at, bool inside) const
    {
        fill(to, T(0));
        load_if(to, inside && row >= 0, at + row);
    }
};

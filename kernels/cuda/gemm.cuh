// Matrix products with the reading and the writing left open: sum_k A(m, k) B(k, n) for any A and
// B that can say what lies at (m, k). A dense layer reads its arrays as they are, a convolution
// reads windows of images, an importance reads powers; the loop below is the same for all.
//
// A block computes a tile of BM x BN results. It walks along k in slices of BK: all threads bring
// the next slice of A and B into registers while the present one, in shared memory, is multiplied.
// With GROUPS > 1 the threads form groups that take every GROUPS-th slice and add their sums in a
// fixed order at the end: a small output then still has enough threads to hide the memory's latency.
// Results never depend on scheduling.
//
// How a group's threads share the sums, and multiply a slice, says the tile's base class `Sums`:
// `FmaSums` or `MmaSums`.

template <class Sums>
struct Tile : Sums {
    typedef typename Sums::Real T;
    enum { BM = Sums::BM, BN = Sums::BN, BK = Sums::BK, PAD = Sums::PAD, COUNT = Sums::COUNT };
    enum { GROUP = Sums::GROUP, GROUPS = Sums::GROUPS, THREADS = GROUP * GROUPS };
    enum { EACH_A = BM * BK / GROUP, EACH_B = BN * BK / GROUP };

    struct Slice {
        T a[BK][BM + PAD];
        T b[BK][BN + PAD];
    };
    union alignas(16) Stage {
        Slice slices[GROUPS];
        T sums[GROUPS > 1 ? GROUPS - 1 : 1][GROUPS > 1 ? COUNT * GROUP : 1];  // for `combine`
    };

    __device__ static int group() { return threadIdx.x / GROUP; }
    __device__ static int member() { return threadIdx.x % GROUP; }

    __device__ void clear()
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) this->sum[i] = T(0);
    }

    // sum += A B over begin <= k < end, for the tile whose first result is (m0, n0). All threads of
    // the block call it. `stage` may be used again right after.
    template <class A, class B>
    __device__ void add(Stage& stage, const A& a, const B& b, int m0, int n0, int begin, int end)
    {
        Fetch<A, BM, EACH_A> left(a, m0);
        Fetch<B, BN, EACH_B> right(b, n0);
        Slice& slice = stage.slices[group()];
        const int rounds = (end - begin + BK * GROUPS - 1) / (BK * GROUPS);
        int k0 = begin + group() * BK;
        left.bring(k0, end);
        right.bring(k0, end);
        for (int round = 0; round < rounds; ++round) {
            left.put(slice.a);
            right.put(slice.b);
            __syncthreads();
            k0 += BK * GROUPS;
            if (round + 1 < rounds) {
                left.bring(k0, end);
                right.bring(k0, end);
            }
            this->multiply(slice, member());
            __syncthreads();
        }
    }

    // Put the groups' sums together, in the groups' order, in the first group's threads.
    __device__ void combine(Stage& stage)
    {
        if (GROUPS == 1) return;
        if (group() > 0) {
            T* mine = stage.sums[group() - 1] + member();
#pragma unroll
            for (int i = 0; i < COUNT; ++i) mine[i * GROUP] = this->sum[i];
        }
        __syncthreads();
        if (group() == 0) {
            for (int other = 0; other < GROUPS - 1; ++other) {
                const T* theirs = stage.sums[other] + member();
#pragma unroll
                for (int i = 0; i < COUNT; ++i) this->sum[i] += theirs[i * GROUP];
            }
        }
        __syncthreads();  // the stage may be used again
    }

    // sum += |other's sum|**power; after `combine` of the other.
    __device__ void add_raised(const Tile& other, int power)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) this->sum[i] += raise(power, other.sum[i]);
    }

    // visit(m, n, sum) for each result of the tile that lies within rows x columns; after `combine`.
    template <class Visit>
    __device__ void each(int m0, int n0, int rows, int columns, Visit visit)
    {
        if (group() != 0) return;
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int m = m0 + Sums::row_of(member(), i), n = n0 + Sums::column_of(member(), i);
            if (m < rows && n < columns) visit(m, n, this->sum[i]);
        }
    }

    // A thread's share of a slice, on its way from memory through registers to shared memory. The
    // reader says whether its memory runs along k (ALONG_K) or across it, and neighbouring threads
    // follow it. So a thread meets one k and several rows in each slice, or several k and few rows;
    // what a reader works out about a row is kept for the whole product, and what it works out
    // about a k serves the thread's rows.
    template <class Reader, int WIDTH, int EACH>
    struct Fetch {
        enum { LANES = Reader::ALONG_K ? BK : WIDTH < 32 ? WIDTH : 32, PASS = GROUP / LANES };
        enum { ROWS = Reader::ALONG_K ? EACH : WIDTH / LANES, STEPS = EACH / ROWS };
        enum { NEXT_ROW = Reader::ALONG_K ? PASS : LANES, NEXT_STEP = PASS };
        static_assert(GROUP % LANES == 0 && WIDTH % LANES * (1 - Reader::ALONG_K) == 0 &&
                          ROWS * STEPS == EACH && EACH * GROUP == WIDTH * BK,
                      "the threads must cover a slice in whole passes");

        const Reader& reader;
        typename Reader::Row rows[ROWS];
        T held[EACH];
        int row, step;  // this thread's first row and k within a slice

        __device__ Fetch(const Reader& from, int first) : reader(from)
        {
            row = Reader::ALONG_K ? member() / LANES : member() % LANES;
            step = Reader::ALONG_K ? member() % LANES : member() / LANES;
#pragma unroll
            for (int i = 0; i < ROWS; ++i) rows[i] = reader.row(first + row + i * NEXT_ROW);
        }

        __device__ void bring(int k0, int end)
        {
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                const int k = k0 + step + s * NEXT_STEP;
                const bool inside = k < end;
                const typename Reader::Step at = reader.step(inside ? k : 0);
#pragma unroll
                for (int i = 0; i < ROWS; ++i)
                    held[s * ROWS + i] = inside ? reader.read(rows[i], at) : T(0);
            }
        }

        __device__ void put(T (&to)[BK][WIDTH + PAD])
        {
#pragma unroll
            for (int s = 0; s < STEPS; ++s)
#pragma unroll
                for (int i = 0; i < ROWS; ++i)
                    to[step + s * NEXT_STEP][row + i * NEXT_ROW] = Sums::stored(held[s * ROWS + i]);
        }
    };
};

// Sums by fused multiply-adds: each thread keeps TM x TN neighbouring ones.
template <typename T, int BM_, int BN_, int BK_, int TM, int TN, int GROUPS_>
struct FmaSums {
    typedef T Real;
    enum { BM = BM_, BN = BN_, BK = BK_, GROUPS = GROUPS_, COUNT = TM * TN };
    enum { ACROSS = BN / TN, GROUP = (BM / TM) * ACROSS };
    enum { PAD = 16 / sizeof(T) };  // keeps rows apart in the banks, and 16-byte aligned

    T sum[COUNT];

    __device__ static int row_of(int member, int i) { return member / ACROSS * TM + i / TN; }
    __device__ static int column_of(int member, int i) { return member % ACROSS * TN + i % TN; }
    __device__ static T stored(T value) { return value; }

    template <class Slice>
    __device__ void multiply(const Slice& slice, int member)
    {
        const int row = row_of(member, 0), column = column_of(member, 0);
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            T a[TM], b[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) a[i] = slice.a[k][row + i];
#pragma unroll
            for (int j = 0; j < TN; ++j) b[j] = slice.b[k][column + j];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j)
                    sum[i * TN + j] = fma(a[i], b[j], sum[i * TN + j]);
        }
    }
};

// Sums on the tensor cores, of float inputs rounded to TF32's 10 bits: a warp keeps 32 x 32 of them,
// 2 x 4 of the 16 x 8 that one instruction adds to. How those lie in the lanes is the instruction's.
template <int BM_, int BN_, int BK_>
struct MmaSums {
    typedef float Real;
    enum { BM = BM_, BN = BN_, BK = BK_, GROUPS = 1, DOWN = 2, BESIDE = 4, COUNT = DOWN * BESIDE * 4 };
    enum { ACROSS = BN / 32, GROUP = BM / 32 * ACROSS * 32 };
    enum { PAD = 8 };  // 4 k of 8 neighbours, which a warp reads at once, then lie in 32 banks

    float sum[COUNT];

    __device__ static int first_row(int member)
    {
        return member / 32 / ACROSS * 32 + member % 32 / 4;
    }
    __device__ static int first_column(int member) { return member / 32 % ACROSS * 32; }
    __device__ static int row_of(int member, int i)
    {
        return first_row(member) + i / (4 * BESIDE) * 16 + i % 4 / 2 * 8;
    }
    __device__ static int column_of(int member, int i)
    {
        return first_column(member) + i / 4 % BESIDE * 8 + member % 4 * 2 + i % 2;
    }
    __device__ static float stored(float value) { return __uint_as_float(to_tf32(value)); }

    template <class Slice>
    __device__ void multiply(const Slice& slice, int member)
    {
        const int row = first_row(member), column = first_column(member) + member % 32 / 4;
#pragma unroll
        for (int k0 = 0; k0 < BK; k0 += 8) {
            const int k = k0 + member % 4;
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
template <typename T> using Small = Tile<FmaSums<T, 32, 32, 16, 4, 4, sizeof(T) == 4 ? 8 : 4>>;
template <typename T> using Medium = Tile<FmaSums<T, 64, 64, 16, 4, 4, 1>>;
template <typename T> using Narrow = Tile<FmaSums<T, 64, 32, 16, 4, 4, 1>>;
template <typename T> using Thin = Tile<FmaSums<T, 64, 16, 16, 4, 2, 1>>;
typedef Tile<MmaSums<128, 64, 16>> Tensor;

// ---- readers of plain matrices ------------------------------------------------------------------

// A matrix whose rows (of m or n) lie `stride` apart and run along k.
template <typename T>
struct AlongK {
    enum { ALONG_K = 1 };
    typedef const T* Row;  // null outside the matrix
    typedef int Step;
    const T* data;
    long long stride;
    int rows;

    __device__ Row row(int r) const { return r < rows ? data + r * stride : nullptr; }
    __device__ Step step(int k) const { return k; }
    __device__ T read(Row row, Step k) const { return row ? row[k] : T(0); }
};

// A matrix stored the other way: at each k, neighbouring rows lie side by side.
template <typename T>
struct AcrossK {
    enum { ALONG_K = 0 };
    typedef int Row;  // negative outside the matrix
    typedef const T* Step;
    const T* data;
    long long stride;
    int rows;

    __device__ Row row(int r) const { return r < rows ? r : -1; }
    __device__ Step step(int k) const { return data + k * stride; }
    __device__ T read(Row row, Step at) const { return row >= 0 ? at[row] : T(0); }
};

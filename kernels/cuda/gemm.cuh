// Matrix products with the reading and the writing left open: sum_k A(m, k) B(k, n) for any A and
// B that can say what lies at (m, k). A dense layer reads its arrays as they are, a convolution
// reads windows of images, an importance reads powers; the loop below is the same for all.
//
// A block computes a tile of BM x BN results. It walks along k in slices of BK: all threads bring
// the next slice of A and B into registers while the present one, in shared memory, is multiplied;
// each thread keeps TM x TN sums. With GROUPS > 1 the threads form groups that take every
// GROUPS-th slice and add their sums in a fixed order at the end: a small output then still has
// enough threads to hide the memory's latency. Results never depend on scheduling.

template <typename T, int BM_, int BN_, int BK_, int TM_, int TN_, int GROUPS_>
struct Tile {
    typedef T Real;
    enum { BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_, GROUPS = GROUPS_ };
    enum { ACROSS = BN / TN, GROUP = (BM / TM) * ACROSS, THREADS = GROUP * GROUPS };
    enum { PAD = 16 / sizeof(T) };  // keeps rows apart in the banks, and 16-byte aligned
    enum { EACH_A = BM * BK / GROUP, EACH_B = BN * BK / GROUP };

    struct Slice {
        T a[BK][BM + PAD];
        T b[BK][BN + PAD];
    };
    union alignas(16) Stage {
        Slice slices[GROUPS];
        T sums[GROUPS > 1 ? GROUPS - 1 : 1][GROUPS > 1 ? BM * BN : 1];  // for `combine`
    };

    T sum[TM][TN];

    __device__ static int group() { return threadIdx.x / GROUP; }
    __device__ static int member() { return threadIdx.x % GROUP; }
    __device__ static int first_row() { return member() / ACROSS * TM; }
    __device__ static int first_column() { return member() % ACROSS * TN; }

    __device__ void clear()
    {
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j)
                sum[i][j] = T(0);
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
            multiply(slice);
            __syncthreads();
        }
    }

    __device__ void multiply(const Slice& slice)
    {
        const int row = first_row(), column = first_column();
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
                    sum[i][j] = fma(a[i], b[j], sum[i][j]);
        }
    }

    // Put the groups' sums together, in the groups' order, in the first group's threads.
    __device__ void combine(Stage& stage)
    {
        if (GROUPS == 1) return;
        if (group() > 0) {
            T* mine = stage.sums[group() - 1] + member();
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j)
                    mine[(i * TN + j) * GROUP] = sum[i][j];
        }
        __syncthreads();
        if (group() == 0) {
            for (int other = 0; other < GROUPS - 1; ++other) {
                const T* theirs = stage.sums[other] + member();
#pragma unroll
                for (int i = 0; i < TM; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j)
                        sum[i][j] += theirs[(i * TN + j) * GROUP];
            }
        }
        __syncthreads();  // the stage may be used again
    }

    // visit(m, n, sum) for each result of the tile that lies within rows x columns; after `combine`.
    template <class Visit>
    __device__ void each(int m0, int n0, int rows, int columns, Visit visit)
    {
        if (group() != 0) return;
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int m = m0 + first_row() + i;
#pragma unroll
            for (int j = 0; j < TN; ++j) {
                const int n = n0 + first_column() + j;
                if (m < rows && n < columns) visit(m, n, sum[i][j]);
            }
        }
    }

    // A thread's share of a slice, on its way from memory through registers to shared memory. The
    // reader says whether its memory runs along k (ALONG_K) or across it, and neighbouring threads
    // follow it. So a thread meets one k and several rows in each slice, or the other way round;
    // what a reader works out about a row is kept for the whole product.
    template <class Reader, int WIDTH, int EACH>
    struct Fetch {
        enum { ALONG = Reader::ALONG_K, ROWS = ALONG ? EACH : 1, STEPS = ALONG ? 1 : EACH };
        enum { STRIDE = ALONG ? GROUP / BK : GROUP / WIDTH };
        static_assert(GROUP % (ALONG ? BK : WIDTH) == 0, "threads must fill whole rows of a slice");

        const Reader& reader;
        typename Reader::Row rows[ROWS];
        T held[EACH];
        int row, step;  // this thread's first row and k within a slice

        __device__ Fetch(const Reader& from, int first) : reader(from)
        {
            row = ALONG ? member() / BK : member() % WIDTH;
            step = ALONG ? member() % BK : member() / WIDTH;
#pragma unroll
            for (int i = 0; i < ROWS; ++i) rows[i] = reader.row(first + row + i * STRIDE);
        }

        __device__ void bring(int k0, int end)
        {
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                const int k = k0 + step + s * STRIDE;
                const bool inside = k < end;
                const typename Reader::Step at = reader.step(inside ? k : 0);
#pragma unroll
                for (int i = 0; i < ROWS; ++i)
                    held[s + i] = inside ? reader.read(rows[i], at) : T(0);
            }
        }

        __device__ void put(T (&to)[BK][WIDTH + PAD])
        {
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
                const int r = ALONG ? row + i * STRIDE : row;
                const int k = ALONG ? step : step + i * STRIDE;
                to[k][r] = held[i];
            }
        }
    };
};

// The tiles that are compiled. A kernel's launch chooses by how many blocks the output gives.
template <typename T> using Small = Tile<T, 32, 32, 16, 4, 4, sizeof(T) == 4 ? 8 : 4>;
template <typename T> using Medium = Tile<T, 64, 64, 16, 4, 4, 1>;

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

// Losses and the softmax. A row of K numbers is one sample.
//
// Up to NARROW classes a block brings ROWS rows into shared memory in one sweep, each thread works
// on a row, and what it made goes back in one sweep: all of memory's width is used, and no thread
// waits for another one's numbers. Of more classes a warp takes a row. The arithmetic is written
// once, for whoever shares a row: one thread, or the lanes of a warp. Sums run over a row's numbers
// in their order either way: lanes hand theirs round, one after the other.

enum { NARROW = 32, ROWS = 64 };

struct Alone {
    enum { STEP = 1 };
    __device__ static int first() { return 0; }
    template <typename T> __device__ static T largest(T value) { return value; }

    // sum = add(sum, term(k)) for k = 0 .. K - 1
    template <typename T, class Make, class Add>
    __device__ static T in_order(int K, T sum, Make term, Add add)
    {
        for (int k = 0; k < K; ++k) sum = add(sum, term(k));
        return sum;
    }
};

struct Warp {
    enum { STEP = 32 };
    __device__ static int first() { return threadIdx.x % 32; }
    template <typename T> __device__ static T largest(T value) { return warp_largest(value); }

    template <typename T, class Make, class Add>
    __device__ static T in_order(int K, T sum, Make term, Add add)
    {
        for (int start = 0; start < K; start += 32) {
            const int k = start + first();
            const auto mine = k < K ? term(k) : decltype(term(k)){};
            for (int lane = 0; lane < min(32, K - start); ++lane)
                sum = add(sum, from_lane(mine, lane));
        }
        return sum;
    }
};

// The warps of a launch, as `thread_index` and `thread_count`.
__device__ long long warp_index() { return thread_index() / 32; }
__device__ long long warp_count() { return thread_count() / 32; }

// Up to ROWS rows of K numbers in shared memory, as they lie in the array. One place in 33 stays
// empty, which keeps the rows of neighbouring threads in different banks. All threads of a block
// copy, and wait for each other before others use what they copied. A number goes through the same
// thread in and out, so a tile that was copied out may be filled again at once.
template <typename T>
struct Tile {
    T numbers[ROWS * (NARROW + 1)];

    __device__ T& operator[](int i) { return numbers[i + i / 32]; }

    __device__ void copy_from(const T* from, int count)
    {
#pragma unroll 4
        for (int i = threadIdx.x; i < count; i += ROWS) (*this)[i] = from[i];
    }

    __device__ void copy_to(T* to, int count)
    {
#pragma unroll 4
        for (int i = threadIdx.x; i < count; i += ROWS) to[i] = (*this)[i];
    }
};

// This thread's row of a tile.
template <typename T>
struct Row {
    Tile<T>& tile;
    int start;

    __device__ Row(Tile<T>& in, int K) : tile(in), start(threadIdx.x * K) {}
    __device__ T& operator[](int k) const { return tile[start + k]; }
};

// work(first, rows) for every group of ROWS rows (fewer at the end) that falls to this block.
template <class Work>
__device__ void each_tile(long long N, Work work)
{
    for (long long first = (long long)blockIdx.x * ROWS; first < N;
         first += (long long)gridDim.x * ROWS)
        work(first, N - first < ROWS ? int(N - first) : int(ROWS));
}

// ---- the arithmetic of one row ------------------------------------------------------------------

// What turns a logit into a probability, exp(z - peak) / total: no exponential overflows, and at
// least one of them is 1. An inactive class counts as minus infinity. NaN reaches all of the row.
template <typename T>
struct Softmax {
    const bool* active;
    T peak, total;

    template <class Team, class Z>
    __device__ static Softmax of(Team, int K, const Z& z, const bool* active)
    {
        Softmax made{active, -infinity<T>(), T(0)};
        for (int k = Team::first(); k < K; k += Team::STEP)
            if (active[k] && z[k] > made.peak) made.peak = z[k];
        made.peak = Team::largest(made.peak);
        const auto share = [&](int k) { return made.share(k, z[k]); };
        made.total = Team::in_order(K, T(0), share, Plus());
        return made;
    }

    __device__ T logit(int k, T z) const { return active[k] ? z : -infinity<T>(); }
    __device__ T share(int k, T z) const { return exponential(logit(k, z) - peak); }
};

// p = softmax(z); p may be z.
template <typename T, class Team, class Z, class P>
__device__ void softmax_of(Team team, int K, const Z& z, const bool* active, const P& p)
{
    const Softmax<T> scale = Softmax<T>::of(team, K, z, active);
    for (int k = Team::first(); k < K; k += Team::STEP) p[k] = scale.share(k, z[k]) / scale.total;
}

// -log(1 - q) for q in 0..1/2, exact near 0 too (Kahan).
template <typename T>
__device__ T minus_log1p(T q)
{
    const T rest = T(1) - q;
    return rest == T(1) ? q : logarithm(rest) * (q / (rest - T(1)));
}

// d = softmax(z) - e_label; the loss is returned, infinite for an inactive class. A label that names
// no class at all has none: the answer is NaN, in d too. d may be z where one thread works alone. Of a label's p above 1/2
// p - 1 is minus the sum of the others, and the loss -log1p of that: 1 - p would be rounding.
template <typename T, class Team, class Z, class D>
__device__ T cross_entropy_of(Team team, int K, const Z& z, long long label, const bool* active,
                              const D& d)
{
    const Softmax<T> scale = Softmax<T>::of(team, K, z, active);
    const bool known = label >= 0 && label < K;
    T loss = not_a_number<T>(), total = loss;
    if (known) {
        total = scale.total;
        loss = logarithm(total) - (scale.logit(label, z[label]) - scale.peak);
    }
    const bool sure = known && scale.share(label, z[label]) / total > T(0.5);
    const T others = Team::in_order(
        K, T(0),
        [&](int k) {
            const T p = scale.share(k, z[k]) / total;
            d[k] = k == label ? p - T(1) : p;
            return k == label ? T(0) : p;
        },
        Plus());
    if (!sure) return loss;
    if (label % Team::STEP == Team::first()) d[label] = -others;
    return minus_log1p(others);
}

// dz = p (w - p.w), w = u less its entry at the class above 1/2, if there is one: p sums to 1, so it
// makes no difference but to rounding, which would be all that is left there. dz may be u.
template <typename T, class Team, class P, class U, class D>
__device__ void jacobian_of(Team, int K, const P& p, const U& u, const D& dz)
{
    const T origin = Team::in_order(
        K, T(0), [&](int k) { return p[k] > T(0.5) ? u[k] : T(0); }, Plus());
    const T mean = Team::in_order(
        K, T(0), [&](int k) { return Pack<T, 2>{p[k], u[k] - origin}; }, Times());
    for (int k = Team::first(); k < K; k += Team::STEP) dz[k] = p[k] * (u[k] - origin - mean);
}

// ---- kernels: *_narrow by tiles, *_wide by warps ------------------------------------------------

template <typename T>
__global__ void __launch_bounds__(ROWS)
softmax_narrow(long long N, int K, const T* logits, const bool* active, T* p)
{
    __shared__ Tile<T> z;
    each_tile(N, [&](long long first, int rows) {
        z.copy_from(logits + first * K, rows * K);
        __syncthreads();
        const Row<T> row(z, K);
        if (threadIdx.x < rows) softmax_of<T>(Alone(), K, row, active, row);
        __syncthreads();
        z.copy_to(p + first * K, rows * K);
    });
}

template <typename T>
__global__ void __launch_bounds__(128, 6)
softmax_wide(long long N, int K, const T* logits, const bool* active, T* p)
{
    for (long long n = warp_index(); n < N; n += warp_count())
        softmax_of<T>(Warp(), K, logits + n * K, active, p + n * K);
}

template <typename T>
__global__ void __launch_bounds__(ROWS)
cross_entropy_narrow(long long N, int K, const T* logits, const long long* labels,
                     const bool* active, T* loss, T* dlogits)
{
    __shared__ Tile<T> z;
    each_tile(N, [&](long long first, int rows) {
        z.copy_from(logits + first * K, rows * K);
        __syncthreads();
        const Row<T> row(z, K);
        const long long n = first + threadIdx.x;
        if (threadIdx.x < rows)
            loss[n] = cross_entropy_of<T>(Alone(), K, row, labels[n], active, row);
        __syncthreads();
        z.copy_to(dlogits + first * K, rows * K);
    });
}

template <typename T>
__global__ void __launch_bounds__(128, 6)
cross_entropy_wide(long long N, int K, const T* logits, const long long* labels, const bool* active,
                   T* loss, T* dlogits)
{
    for (long long n = warp_index(); n < N; n += warp_count()) {
        const T found = cross_entropy_of<T>(Warp(), K, logits + n * K, labels[n], active,
                                            dlogits + n * K);
        if (Warp::first() == 0) loss[n] = found;
    }
}

template <typename T>
__global__ void __launch_bounds__(ROWS)
jacobian_narrow(long long N, int K, const T* p, const T* u, T* dz)
{
    __shared__ Tile<T> shares, given;
    each_tile(N, [&](long long first, int rows) {
        shares.copy_from(p + first * K, rows * K);
        given.copy_from(u + first * K, rows * K);
        __syncthreads();
        const Row<T> row(given, K);
        if (threadIdx.x < rows) jacobian_of<T>(Alone(), K, Row<T>(shares, K), row, row);
        __syncthreads();
        given.copy_to(dz + first * K, rows * K);
    });
}

template <typename T>
__global__ void __launch_bounds__(128, 6)
jacobian_wide(long long N, int K, const T* p, const T* u, T* dz)
{
    for (long long n = warp_index(); n < N; n += warp_count())
        jacobian_of<T>(Warp(), K, p + n * K, u + n * K, dz + n * K);
}

// factor[c, n] = sqrt(p[n, c]) (e_c - p[n]); the K N rows of the factor (K, N, K) are its rows.
template <typename T>
__global__ void softmax_fisher_factor(int rows, int K, int N, const T* __restrict__ p, T* factor)
{
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient at(row, N);
        const int c = at.whole;
        const T* shares = p + (long long)at.rest * K;
        const T root = sqrt(shares[c]);
        for (int k = place_index(); k < K; k += place_count()) {
            T value = -root * shares[k];
            if (k == c && shares[c] > T(0.5)) {  // 1 - p would be rounding: the sum of the others
                T others = T(0);
                for (int j = 0; j < K; ++j)
                    if (j != c) others += shares[j];
                value = root * others;
            } else if (k == c) {
                value += root;
            }
            factor[(long long)row * K + k] = value;
        }
    }
}

// doutputs = outputs - targets, loss = half the sum of their squares.
template <typename T>
__global__ void __launch_bounds__(ROWS)
squared_error_narrow(long long N, int K, const T* outputs, const T* targets, T* loss, T* doutputs)
{
    __shared__ Tile<T> away;
    each_tile(N, [&](long long first, int rows) {
        const long long start = first * K;
#pragma unroll 4
        for (int i = threadIdx.x; i < rows * K; i += ROWS) {
            const T d = outputs[start + i] - targets[start + i];
            doutputs[start + i] = d;
            away[i] = d;
        }
        __syncthreads();
        if (threadIdx.x < rows) {
            const Row<T> d(away, K);
            T total = T(0);
            for (int k = 0; k < K; ++k) total = fma(d[k], d[k], total);
            loss[first + threadIdx.x] = total / 2;
        }
        __syncthreads();
    });
}

template <typename T>
__global__ void __launch_bounds__(128, 6)
squared_error_wide(long long N, int K, const T* outputs, const T* targets, T* loss, T* doutputs)
{
    for (long long n = warp_index(); n < N; n += warp_count()) {
        const auto term = [=](int k) {
            const T d = outputs[n * K + k] - targets[n * K + k];
            doutputs[n * K + k] = d;
            return Pack<T, 2>{d, d};
        };
        const T total = Warp::in_order(K, T(0), term, Times());
        if (Warp::first() == 0) loss[n] = total / 2;
    }
}

// The sum of `number` (N,) in double, in all threads of the one block there is: eight sums of every
// eighth, then theirs, then what is left at the end.
template <typename T>
__device__ double sum_in_eights(long long N, const T* number)
{
    __shared__ double terms[256];
    const int thread = threadIdx.x;
    const long long whole = N / 8 * 8;
    double sum = 0;
    for (long long first = 0; first < whole; first += 256) {
        if (first + thread < whole) terms[thread] = number[first + thread];
        __syncthreads();
        if (thread < 8)
            for (int i = thread; i < min(256ll, whole - first); i += 8) sum += terms[i];
        __syncthreads();
    }
    if (thread < 8) terms[thread] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < 8; ++i) sum += terms[i];
    for (long long i = whole; i < N; ++i) sum += number[i];
    return sum;
}

// mean = the mean of loss (N,).
template <typename T>
__global__ void __launch_bounds__(256) mean_loss(long long N, const T* loss, double* mean)
{
    const double sum = sum_in_eights(N, loss);
    if (threadIdx.x == 0) *mean = sum / N;
}

// ---- samples that weigh unequally -----------------------------------------------------------

// weight (N,) = weights (K,) of each label, 0 of one that is ignored, 1 of one that names no class
// otherwise; known = the labels, 0 in place of ignored ones; total = the sum of weight. One block.
template <typename T>
__global__ void __launch_bounds__(256)
label_weights(long long N, int K, const long long* labels, const T* weights, long long ignored,
              long long* known, T* weight, double* total)
{
    for (long long n = threadIdx.x; n < N; n += 256) {
        const long long label = labels[n];
        const T given = label >= 0 && label < K ? weights[label] : T(1);
        known[n] = label == ignored ? 0 : label;
        weight[n] = label == ignored ? T(0) : given;
    }
    __syncthreads();
    const double sum = sum_in_eights(N, weight);
    if (threadIdx.x == 0) *total = sum;
}

// loss (N,) and dlogits (N, K) times weight (N,); 0 of a weight of 0, whatever they were.
template <typename T>
__global__ void weigh_losses(int rows, int K, const T* __restrict__ weight, T* loss, T* dlogits)
{
    for (int row = row_index(); row < rows; row += row_count()) {
        const T factor = weight[row];
        for (int k = place_index(); k < K; k += place_count()) {
            T& value = dlogits[(long long)row * K + k];
            value = factor == 0 ? T(0) : factor * value;
            if (k == 0) loss[row] = factor == 0 ? T(0) : factor * loss[row];
        }
    }
}

// mean = the sum of loss (N,) over total; 0 over 0.
template <typename T>
__global__ void __launch_bounds__(256)
weighted_mean(long long N, const T* loss, const double* total, double* mean)
{
    const double sum = sum_in_eights(N, loss);
    if (threadIdx.x == 0) *mean = *total == 0 ? 0 : sum / *total;
}

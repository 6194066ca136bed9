// Batch normalisation of each of the C channels of x (R, C), R rows: N samples of `positions` each.
//
// A thread keeps to W neighbouring channels, 16 bytes where C allows it, and takes rows of which
// its block has several at once. So a block reads one sweep of memory, however few channels there
// are, and what belongs to a channel stays in registers.
//
// Sums over rows are made in two steps: a block adds up one part of the rows, always in one order,
// and leaves two sums a channel in sums[part] (parts, 2, C); then a warp a channel puts the parts
// together, in one order again.

enum { SUMMING = 512 };  // threads of a block that adds up

// Where a thread of a block works: from `channel` on, in row `row` of every `down` rows.
template <int W>
struct Place {
    int channel, row, down, across;
    bool inside;  // the last threads of a block and of a row of blocks may have nothing to do

    __device__ explicit Place(int C)
    {
        const int packs = C / W;
        across = packs < blockDim.x ? packs : blockDim.x;
        down = blockDim.x / across;
        row = threadIdx.x / across;
        const int pack = blockIdx.y * across + threadIdx.x % across;
        channel = pack * W;
        inside = row < down && pack < packs;
    }
};

// Numbers of W channels. Those of parameters may lie anywhere, so they are read one by one.
template <typename T, int W>
struct Channels {
    T at[W];

    __device__ Channels(const T* from, const Place<W>& place, T otherwise)
    {
#pragma unroll
        for (int j = 0; j < W; ++j)
            at[j] = from && place.inside ? from[place.channel + j] : otherwise;
    }
};

// Two sums a channel, of one thread.
template <typename T, int W>
struct Sums {
    T first[W], second[W];

    __device__ Sums()
    {
#pragma unroll
        for (int j = 0; j < W; ++j) first[j] = second[j] = T(0);
    }
};

// Shared memory in which threads add up their sums.
template <typename T, int W>
struct Stage {
    T first[W][SUMMING], second[W][SUMMING];

    // mine = the sums of `rows` rows of threads, from this one's on; right in every `rows`th row.
    // The rows are halved, always in one order. All threads of the block call it, and may call it
    // again right after.
    __device__ void add_up(const Place<W>& place, int rows, Sums<T, W>& mine)
    {
        if (rows == 1) return;
        const int t = threadIdx.x, row = place.row % rows;
        put(t, mine);
        __syncthreads();
        for (int half; rows > 1; rows = half) {
            half = (rows + 1) / 2;
            const int other = t + half * place.across;
            if (row + half < rows && place.row + half < place.down) {
#pragma unroll
                for (int j = 0; j < W; ++j) {
                    mine.first[j] += first[j][other];
                    mine.second[j] += second[j][other];
                }
                put(t, mine);
            }
            __syncthreads();
        }
    }

    __device__ void put(int t, const Sums<T, W>& mine)
    {
#pragma unroll
        for (int j = 0; j < W; ++j) {
            first[j][t] = mine.first[j];
            second[j][t] = mine.second[j];
        }
    }
};

// The rows of a part.
struct Part {
    long long begin, end;
    __device__ Part(int part, int parts, long long rows)
        : begin(part * rows / parts), end((part + 1) * rows / parts) {}
};

// Add up the block's sums and leave them in sums[part].
template <typename T, int W>
__device__ void leave(Stage<T, W>& stage, const Place<W>& place, Sums<T, W>& mine, int C, T* sums)
{
    stage.add_up(place, place.down, mine);
    if (place.inside && place.row == 0) {
        T* to = sums + blockIdx.x * 2ll * C + place.channel;
#pragma unroll
        for (int j = 0; j < W; ++j) {
            to[j] = mine.first[j];
            to[C + j] = mine.second[j];
        }
    }
}

// sums[part] = the sums that `add(sums, i)` makes of the rows of the block's part; i is where the
// thread's channels of a row begin.
template <typename T, int W, class Add>
__device__ void sum_part(const Place<W>& place, const Part& part, int C, T* sums, Add add)
{
    __shared__ Stage<T, W> stage;
    Sums<T, W> mine;
    if (place.inside) {
#pragma unroll 4
        for (long long row = part.begin + place.row; row < part.end; row += place.down)
            add(mine, row * C + place.channel);
    }
    leave(stage, place, mine, C, sums);
}

// ---- the moments --------------------------------------------------------------------------------

// Of x - x0 and its square, where x0 is the part's first row: no digits are lost to a large mean.
template <typename T, int W>
__global__ void __launch_bounds__(SUMMING, 2)
norm_moment_sums(int parts, long long R, int C, const T* __restrict__ x, T* sums)
{
    const Place<W> place(C);
    const Part part(blockIdx.x, parts, R);
    const Channels<T, W> base(part.begin < part.end ? x + part.begin * C : nullptr, place, T(0));
    sum_part<T, W>(place, part, C, sums, [&](Sums<T, W>& mine, long long i) {
        const auto values = load<W>(x + i);
#pragma unroll
        for (int j = 0; j < W; ++j) {
            const T d = values.at[j] - base.at[j];
            mine.first[j] += d;
            mine.second[j] = fma(d, d, mine.second[j]);
        }
    });
}

// mean and (biased) variance from those sums, in double.
template <typename T>
__global__ void __launch_bounds__(128, 4)
norm_combine_moments(int parts, long long R, int C, const T* x, const T* sums, T* mean, T* var)
{
    const int lane = threadIdx.x % 32;
    for (long long c = thread_index() / 32; c < C; c += thread_count() / 32) {
        double total = 0, square = 0;
        for (int p = lane; p < parts; p += 32) {
            const Part part(p, parts, R);
            if (part.begin < part.end)
                total += sums[2ll * p * C + c] +
                         double(part.end - part.begin) * x[part.begin * C + c];
        }
        const double middle = warp_sum(total) / R;
        for (int p = lane; p < parts; p += 32) {
            const Part part(p, parts, R);
            if (part.begin < part.end) {
                const double away = middle - x[part.begin * C + c];
                const double sum = sums[2ll * p * C + c], squares = sums[(2ll * p + 1) * C + c];
                square += squares + away * (away * (part.end - part.begin) - 2 * sum);
            }
        }
        square = warp_sum(square) / R;
        if (lane == 0) {
            mean[c] = T(middle);
            var[c] = square < 0 ? T(0) : T(square);  // NaN stays
        }
    }
}

// inverse = 1 / sqrt(var + eps), and the running statistics move; they may be null.
template <typename T>
__global__ void norm_moments(long long count, const T* var, const T* mean, T eps, T keep, T share,
                             T share_of_var, T* running_mean, T* running_var, T* inverse)
{
    for (long long c = thread_index(); c < count; c += thread_count()) {
        inverse[c] = T(1) / sqrt(var[c] + eps);
        if (running_mean) {
            running_mean[c] = running_mean[c] * keep + share * mean[c];
            running_var[c] = running_var[c] * keep + share_of_var * var[c];
        }
    }
}

// ---- forward ------------------------------------------------------------------------------------

// y = f(gamma (x - mean) inverse + shift)
template <typename T, int W>
__global__ void __launch_bounds__(256)
norm_forward(long long R, int C, const T* __restrict__ x, const T* mean, const T* inverse,
             const T* gamma, const T* shift, int act, T slope, T* __restrict__ y)
{
    const Place<W> place(C);
    if (!place.inside) return;
    const Channels<T, W> middle(mean, place, T(0)), start(shift, place, T(0));
    Channels<T, W> scale(inverse, place, T(1));
    const Channels<T, W> weight(gamma, place, T(1));
#pragma unroll
    for (int j = 0; j < W; ++j) scale.at[j] *= weight.at[j];
#pragma unroll 2
    for (long long row = (long long)blockIdx.x * place.down + place.row; row < R;
         row += (long long)gridDim.x * place.down) {
        auto z = load<W>(x + row * C + place.channel);
#pragma unroll
        for (int j = 0; j < W; ++j)
            z.at[j] = activate(act, slope, fma(z.at[j] - middle.at[j], scale.at[j], start.at[j]));
        store(y + row * C + place.channel, z);
    }
}

// ---- both derivatives ---------------------------------------------------------------------------

// Of d and d (x - mean), where d = f'(y) t.
template <typename T, int W>
__global__ void __launch_bounds__(SUMMING, 2)
norm_product_sums(int parts, long long R, int C, const T* __restrict__ x, const T* mean,
                  const T* __restrict__ y, const T* __restrict__ t, int act, T slope, T* sums)
{
    const Place<W> place(C);
    const Channels<T, W> middle(mean, place, T(0));
    sum_part<T, W>(place, Part(blockIdx.x, parts, R), C, sums, [&](Sums<T, W>& mine, long long i) {
        const auto values = load<W>(x + i);
        auto d = load<W>(t + i);
        if (act != IDENTITY) {
            const auto out = load<W>(y + i);
#pragma unroll
            for (int j = 0; j < W; ++j) d.at[j] = pull(act, slope, out.at[j], d.at[j]);
        }
#pragma unroll
        for (int j = 0; j < W; ++j) {
            mine.first[j] += d.at[j];
            mine.second[j] = fma(d.at[j], values.at[j] - middle.at[j], mine.second[j]);
        }
    });
}

// All parts put together: the two totals of each channel go to sums[0], and, where they are given,
// dshift = beta dshift + first and dgamma = beta dgamma + |gamma| inverse second. A factor that is
// null is 1.
template <typename T>
__global__ void __launch_bounds__(128)
norm_combine(int parts, int C, T* sums, const T* inverse, const T* gamma, T beta, T* dgamma,
             T* dshift)
{
    const int lane = threadIdx.x % 32;
    for (long long c = thread_index() / 32; c < C; c += thread_count() / 32) {
        T first = T(0), second = T(0);
        for (int p = lane; p < parts; p += 32) {
            first += sums[2ll * p * C + c];
            second += sums[(2ll * p + 1) * C + c];
        }
        first = warp_sum(first);
        second = warp_sum(second);
        if (lane == 0) {
            sums[c] = first;
            sums[C + c] = second;
            if (dgamma) {
                const T factor = (inverse ? inverse[c] : T(1)) * (gamma ? fabs(gamma[c]) : T(1));
                dgamma[c] = kept(beta, dgamma + c) + factor * second;
                dshift[c] = kept(beta, dshift + c) + first;
            }
        }
    }
}

// out = g'(y) (gamma inverse (d - k) + (x - mean) l + tshift), d = f'(y) t, over all `rows` rows of
// t and out, which may be V times the R rows of x and y. What is null is absent.
//
// With the batch's own statistics (`sums`, the totals of d and d (x - mean)) k is the mean of d,
// and l = inverse tgamma - gamma inverse^3 mean(d (x - mean)); with constant ones the sums' terms
// are 0. Backward goes through f, `before`; forward (the tangent) through g, `after`.
template <typename T, int W>
__global__ void __launch_bounds__(256, 4)
norm_push(long long rows, long long R, int C, const T* __restrict__ x, const T* mean,
          const T* inverse, const T* gamma, const T* __restrict__ y, const T* __restrict__ t,
          const T* sums, const T* tgamma, const T* tshift, int before, int after, T slope,
          T* __restrict__ out)
{
    const Place<W> place(C);
    if (!place.inside) return;
    const Channels<T, W> middle(mean, place, T(0)), scale(inverse, place, T(1));
    const Channels<T, W> start(tshift, place, T(0));
    Channels<T, W> weight(gamma, place, T(1)), factor(tgamma, place, T(0)), level(sums, place, T(0));
    const Channels<T, W> slopes(sums ? sums + C : nullptr, place, T(0));
    const T share = T(1) / T(R);
#pragma unroll
    for (int j = 0; j < W; ++j) {
        const T a = scale.at[j], b = a * weight.at[j];
        level.at[j] *= share;
        factor.at[j] = fma(a, factor.at[j], -(b * a * a * (share * slopes.at[j])));
        weight.at[j] = b;
    }
    const bool uses_x = sums || tgamma, uses_y = before != IDENTITY || after != IDENTITY;
    for (long long row = (long long)blockIdx.x * place.down + place.row; row < rows;
         row += (long long)gridDim.x * place.down) {
        const long long at = row * C + place.channel;
        const long long within = (rows == R ? row : row % R) * C + place.channel;
        Pack<T, W> values, outputs, result;
        if (uses_x) values = load<W>(x + within);
        if (uses_y) outputs = load<W>(y + within);
        if (t) result = load<W>(t + at);
#pragma unroll
        for (int j = 0; j < W; ++j) {
            T value = start.at[j];
            if (uses_x) value = fma(values.at[j] - middle.at[j], factor.at[j], value);
            if (t) {
                const T d = uses_y ? pull(before, slope, outputs.at[j], result.at[j])
                                   : result.at[j];
                value = fma(weight.at[j], d - level.at[j], value);
            }
            result.at[j] = uses_y ? pull(after, slope, outputs.at[j], value) : value;
        }
        store(out + at, result);
    }
}

// ---- one sample at a time -----------------------------------------------------------------------

// The sums of dz and of dz (x - mean) inverse over the positions of a sample, in the first of the
// `team` rows of threads that share it. x and dz: the sample's own; null where there is none. All
// threads of the block call it.
template <typename T, int W>
__device__ Sums<T, W> sample_sums(Stage<T, W>& stage, const Place<W>& place, int team,
                                  int positions, int C, const T* x, const T* dz,
                                  const Channels<T, W>& middle, const Channels<T, W>& scale)
{
    Sums<T, W> mine;
    if (x) {
#pragma unroll 4
        for (int row = place.row % team; row < positions; row += team) {
            const long long i = (long long)row * C + place.channel;
            const auto values = load<W>(x + i), d = load<W>(dz + i);
#pragma unroll
            for (int j = 0; j < W; ++j) {
                mine.first[j] += d.at[j];
                mine.second[j] = fma(d.at[j], values.at[j] - middle.at[j], mine.second[j]);
            }
        }
    }
    stage.add_up(place, team, mine);
#pragma unroll
    for (int j = 0; j < W; ++j) mine.second[j] *= scale.at[j];
    return mine;
}

// dgamma[n], dshift[n] = those sums; samples lie dgamma_stride and dshift_stride apart there.
template <typename T, int W>
__global__ void __launch_bounds__(SUMMING, 2)
norm_sample_grads(int N, int positions, int C, int team, const T* __restrict__ x, const T* mean,
                  const T* inverse, const T* __restrict__ dz, T* dgamma, long long dgamma_stride,
                  T* dshift, long long dshift_stride)
{
    __shared__ Stage<T, W> stage;
    const Place<W> place(C);
    const Channels<T, W> middle(mean, place, T(0)), scale(inverse, place, T(0));
    const int teams = place.down / team, mine = place.row / team;
    const long long size = (long long)positions * C;
    for (int first = blockIdx.x * teams; first < N; first += gridDim.x * teams) {
        const long long n = first + mine;
        const bool there = place.inside && mine < teams && n < N;
        const auto found =
            sample_sums(stage, place, team, positions, C, there ? x + n * size : nullptr,
                        dz + n * size, middle, scale);
        if (there && place.row % team == 0) {
#pragma unroll
            for (int j = 0; j < W; ++j) {
                dgamma[n * dgamma_stride + place.channel + j] = found.second[j];
                dshift[n * dshift_stride + place.channel + j] = found.first[j];
            }
        }
    }
}

// Of the powers of each sample's sums; the block's part is one of the VN samples of dz, which come
// round to the N samples of x again and again.
template <typename T, int W>
__global__ void __launch_bounds__(SUMMING, 1)
norm_power_sums(int parts, long long VN, int N, int positions, int C, int team,
                const T* __restrict__ x, const T* mean, const T* inverse, const T* __restrict__ dz,
                int power, T* sums)
{
    __shared__ Stage<T, W> stage;
    const Place<W> place(C);
    const Part part(blockIdx.x, parts, VN);
    const Channels<T, W> middle(mean, place, T(0)), scale(inverse, place, T(0));
    const int teams = place.down / team, mine = place.row / team;
    const long long size = (long long)positions * C;
    Sums<T, W> total;
    for (long long first = part.begin; first < part.end; first += teams) {
        const long long n = first + mine;
        const bool there = place.inside && mine < teams && n < part.end;
        const auto found =
            sample_sums(stage, place, team, positions, C, there ? x + n % N * size : nullptr,
                        dz + n * size, middle, scale);
        if (there && place.row % team == 0) {
#pragma unroll
            for (int j = 0; j < W; ++j) {
                total.first[j] = add_raised(power, found.first[j], total.first[j]);
                total.second[j] = add_raised(power, found.second[j], total.second[j]);
            }
        }
    }
    leave(stage, place, total, C, sums);
}

// Of |y| and |x - mean|.
template <typename T, int W>
__global__ void __launch_bounds__(SUMMING, 2)
norm_magnitude_sums(int parts, long long R, int C, const T* __restrict__ x, const T* mean,
                    const T* __restrict__ y, T* sums)
{
    const Place<W> place(C);
    const Channels<T, W> middle(mean, place, T(0));
    sum_part<T, W>(place, Part(blockIdx.x, parts, R), C, sums, [&](Sums<T, W>& mine, long long i) {
        const auto values = load<W>(x + i), out = load<W>(y + i);
#pragma unroll
        for (int j = 0; j < W; ++j) {
            mine.first[j] += fabs(out.at[j]);
            mine.second[j] += fabs(values.at[j] - middle.at[j]);
        }
    });
}

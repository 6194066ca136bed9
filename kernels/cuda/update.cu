// The optimizers' fused steps: every stream crosses memory once, 16 bytes at a time.
//
// Which streams there are is known when a kernel is compiled, one kernel for each combination.
// What an optimizer does with the penalised gradient of one parameter is its Rule: moments in and
// out, the step returned.

// Vectors (P,) of a step. first and second: the optimizer's moments, null where it has none.
template <typename T>
struct Streams {
    T *theta, *first, *second, *path;
    const T *grad, *omega, *anchor, *gain;
};

// All of them for SIZE parameters from i on, with `rule` and the streams that there are.
template <int SIZE, bool PENALTY, bool PATH, bool GAIN, class Rule, typename T>
__device__ __forceinline__ void take_step(const Rule& rule, T lam, const Streams<T>& s, long long i)
{
    Pack<T, SIZE> theta = load<SIZE>(s.theta + i), first, second, path, omega, anchor, gain;
    const Pack<T, SIZE> grad = load<SIZE>(s.grad + i);
    if (Rule::MOMENTS > 0) first = load<SIZE>(s.first + i);
    if (Rule::MOMENTS > 1) second = load<SIZE>(s.second + i);
    if (PENALTY) omega = load<SIZE>(s.omega + i), anchor = load<SIZE>(s.anchor + i);
    if (PATH) path = load<SIZE>(s.path + i);
    if (GAIN) gain = load<SIZE>(s.gain + i);
#pragma unroll
    for (int j = 0; j < SIZE; ++j) {
        T g = grad.at[j];
        if (PENALTY) g = fma(lam * omega.at[j], theta.at[j] - anchor.at[j], g);
        T d = rule.step(g, first.at[j], second.at[j]);
        if (GAIN) d *= gain.at[j];
        if (PATH) path.at[j] = fma(-grad.at[j], d, path.at[j]);
        theta.at[j] += d;
    }
    store(s.theta + i, theta);
    if (Rule::MOMENTS > 0) store(s.first + i, first);
    if (Rule::MOMENTS > 1) store(s.second + i, second);
    if (PATH) store(s.path + i, path);
}

template <bool PENALTY, bool PATH, bool GAIN, class Rule, typename T>
__device__ __forceinline__ void take_steps(long long count, const Rule& rule, T lam,
                                           const Streams<T>& s)
{
    const bool packed = aligned(s.theta, s.first, s.second, s.path) &&
                        aligned(s.grad, s.omega, s.anchor, s.gain);
    each_pack<T>(count, packed, [&](auto size, long long i) {
        take_step<decltype(size)::value, PENALTY, PATH, GAIN>(rule, lam, s, i);
    });
}

// ---- the optimizers -----------------------------------------------------------------------------

// d = -lr g
template <typename T>
struct Sgd {
    enum { MOMENTS = 0 };
    T lr;
    __device__ T step(T g, T&, T&) const { return -lr * g; }
};

template <typename T, bool PENALTY, bool PATH, bool GAIN>
__global__ void __launch_bounds__(256)
sgd_update(long long count, T* theta, const T* grad, T lr, const T* omega, const T* anchor, T lam,
           T* path, const T* gain)
{
    const Streams<T> streams{theta, nullptr, nullptr, path, grad, omega, anchor, gain};
    take_steps<PENALTY, PATH, GAIN>(count, Sgd<T>{lr}, lam, streams);
}

// velocity = momentum velocity + g; d = -lr velocity
template <typename T>
struct Momentum {
    enum { MOMENTS = 1 };
    T lr, momentum;
    __device__ T step(T g, T& velocity, T&) const
    {
        velocity = fma(momentum, velocity, g);
        return -lr * velocity;
    }
};

template <typename T, bool PENALTY, bool PATH, bool GAIN>
__global__ void __launch_bounds__(256)
momentum_update(long long count, T* theta, const T* grad, T* velocity, T lr, T momentum,
                const T* omega, const T* anchor, T lam, T* path, const T* gain)
{
    const Streams<T> streams{theta, velocity, nullptr, path, grad, omega, anchor, gain};
    take_steps<PENALTY, PATH, GAIN>(count, Momentum<T>{lr, momentum}, lam, streams);
}

// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; d = -size m / (sqrt(v) root + eps)
template <typename T>
struct Adam {
    enum { MOMENTS = 2 };
    T keep1, keep2, take1, take2, size, root, eps;
    __device__ T step(T g, T& m, T& v) const
    {
        m = fma(keep1, m, take1 * g);
        v = fma(keep2, v, take2 * g * g);
        return -size * m / fma(sqrt(v), root, eps);
    }
};

// base^exponent for a whole exponent >= 0, by squaring.
__device__ double power(double base, long long exponent)
{
    double result = 1;
    for (; exponent; exponent /= 2, base *= base)
        if (exponent % 2) result *= base;
    return result;
}

// The number of the step is *clock, if there is one: a CUDA graph replays the arguments that it was
// recorded with, but reads memory anew. One thread of a block works the corrections out, in double.
template <typename T, bool PENALTY, bool PATH, bool GAIN>
__global__ void __launch_bounds__(256)
adam_update(long long count, T* theta, const T* grad, T* m, T* v, double lr, double beta1,
            double beta2, T eps, const long long* clock, long long step, const T* omega,
            const T* anchor, T lam, T* path, const T* gain)
{
    __shared__ T size, root;
    if (threadIdx.x == 0) {
        const long long now = clock ? *clock : step;
        size = T(lr / (1 - power(beta1, now)));
        root = T(1 / sqrt(1 - power(beta2, now)));
    }
    __syncthreads();
    const Adam<T> rule{T(beta1), T(beta2), T(1 - beta1), T(1 - beta2), size, root, eps};
    const Streams<T> streams{theta, m, v, path, grad, omega, anchor, gain};
    take_steps<PENALTY, PATH, GAIN>(count, rule, lam, streams);
}

// square = alpha square + (1 - alpha) g^2; d = -lr g / (sqrt(square) + eps)
template <typename T>
struct Rmsprop {
    enum { MOMENTS = 1 };
    T lr, keep, take, eps;
    __device__ T step(T g, T& square, T&) const
    {
        square = fma(keep, square, take * g * g);
        return -lr * g / (sqrt(square) + eps);
    }
};

template <typename T, bool PENALTY, bool PATH, bool GAIN>
__global__ void __launch_bounds__(256)
rmsprop_update(long long count, T* theta, const T* grad, T* square, T lr, T keep, T take, T eps,
               const T* omega, const T* anchor, T lam, T* path, const T* gain)
{
    const Streams<T> streams{theta, square, nullptr, path, grad, omega, anchor, gain};
    take_steps<PENALTY, PATH, GAIN>(count, Rmsprop<T>{lr, keep, take, eps}, lam, streams);
}

// square = rho square + (1 - rho) g^2; u = g sqrt(moved + eps) / sqrt(square + eps);
// moved = rho moved + (1 - rho) u^2; d = -lr u
template <typename T>
struct Adadelta {
    enum { MOMENTS = 2 };
    T lr, keep, take, eps;
    __device__ T step(T g, T& square, T& moved) const
    {
        square = fma(keep, square, take * g * g);
        const T u = g * sqrt(moved + eps) / sqrt(square + eps);
        moved = fma(keep, moved, take * u * u);
        return -lr * u;
    }
};

template <typename T, bool PENALTY, bool PATH, bool GAIN>
__global__ void __launch_bounds__(256)
adadelta_update(long long count, T* theta, const T* grad, T* square, T* moved, T lr, T keep, T take,
                T eps, const T* omega, const T* anchor, T lam, T* path, const T* gain)
{
    const Streams<T> streams{theta, square, moved, path, grad, omega, anchor, gain};
    take_steps<PENALTY, PATH, GAIN>(count, Adadelta<T>{lr, keep, take, eps}, lam, streams);
}

// ---- beside the optimizers ----------------------------------------------------------------------

// grad += lam omega (theta - anchor)
template <typename T>
__global__ void penalty_gradient(long long count, const T* theta, const T* omega, const T* anchor,
                                 T lam, T* grad)
{
    each_pack<T>(count, aligned(theta, omega, anchor, grad), [=](auto size, long long i) {
        enum { SIZE = decltype(size)::value };
        const auto at = load<SIZE>(theta + i), weight = load<SIZE>(omega + i);
        const auto from = load<SIZE>(anchor + i);
        auto g = load<SIZE>(grad + i);
#pragma unroll
        for (int j = 0; j < SIZE; ++j)
            g.at[j] = fma(lam * weight.at[j], at.at[j] - from.at[j], g.at[j]);
        store(grad + i, g);
    });
}

// clocks[i] += by, a thread each: what must differ from one replay of a CUDA graph to the next.
template <typename Whole>
__global__ void advance(Whole* clocks, Whole by)
{
    clocks[threadIdx.x] += by;
}

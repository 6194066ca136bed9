// The dense layer. x (N, I), w (O, I), y and dz (N, O); rows may lie apart, by the *_stride.

// y = f(x w^T + b)
template <class P>
__global__ void __launch_bounds__(P::THREADS)
dense_forward(int N, int I, int O, const typename P::Real* __restrict__ x, long long x_stride,
              const typename P::Real* __restrict__ w, long long w_stride,
              const typename P::Real* __restrict__ b, int act, typename P::Real slope,
              typename P::Real* y, long long y_stride)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    P product;
    product.clear();
    product.add(stage, AlongK<P>{x, x_stride, N}, AlongK<P>{w, w_stride, O}, m0, n0, 0, I);
    product.each(m0, n0, N, O, [=](int m, int n, T z) {
        y[m * y_stride + n] = activate(act, slope, b ? z + b[n] : z);
    });
}

// x (N, I) on its way to becoming z = c x: each piece is multiplied when it has arrived, and kept
// where `z` is not null. The blocks of one column of tiles keep theirs: between them they read all.
template <class P>
struct Turned : AlongK<P> {
    typedef typename P::Real T;
    const T* c;
    T* z;
    __device__ Turned(const T* x, int I, int N, const T* c, T* z) : AlongK<P>{x, I, N}, c(c), z(z) {}
};

template <class P, int PIECE>
__device__ __forceinline__ void arrived(const Turned<P>& x, typename P::Real (&piece)[PIECE],
                                        const typename P::Real* row, int k, bool inside)
{
    if (!inside || !row) return;
    Pack<typename P::Real, PIECE> factor = load<PIECE>(x.c + k);
#pragma unroll
    for (int e = 0; e < PIECE; ++e) factor.at[e] = piece[e] *= factor.at[e];
    if (x.z) store(x.z + (row - x.data) + k, factor);
}

// y = f(z w^T + b) of z = c x, which is written too
template <class P>
__global__ void __launch_bounds__(P::THREADS)
superposed_forward(int N, int I, int O, const typename P::Real* __restrict__ x,
                   const typename P::Real* __restrict__ c, const typename P::Real* __restrict__ w,
                   long long w_stride, const typename P::Real* __restrict__ b, int act,
                   typename P::Real slope, typename P::Real* z, typename P::Real* y)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    P product;
    product.clear();
    const Turned<P> left(x, I, N, c, n0 == 0 ? z : nullptr);
    product.add(stage, left, AlongK<P>{w, w_stride, O}, m0, n0, 0, I);
    product.each(m0, n0, N, O, [=](int m, int n, T z) {
        y[(long long)m * O + n] = activate(act, slope, b ? z + b[n] : z);
    });
}

// What is left of a product z that another library formed in place: f(z + b), or, where y is given,
// f'(y) (z + b). Rows of z lie z_stride apart.
template <typename T>
__global__ void dense_finish(long long count, int O, T* z, long long z_stride,
                             const T* __restrict__ b, const T* __restrict__ y, int act, T slope)
{
    for (long long at = thread_index(); at < count; at += thread_count()) {
        const int o = at % O;
        T* here = z + at / O * z_stride + o;
        const T value = b ? *here + b[o] : *here;
        *here = y ? pull(act, slope, y[at], value) : activate(act, slope, value);
    }
}

// dw = beta dw + dz^T x: each sum begins at beta dw
template <class P>
__global__ void __launch_bounds__(P::THREADS)
dense_weight_grad(int N, int I, int O, const typename P::Real* __restrict__ x, long long x_stride,
                  const typename P::Real* __restrict__ dz, typename P::Real beta,
                  typename P::Real* dw)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    P product;
    product.start(m0, n0, O, I, [=](int o, int i) { return kept(beta, dw + (long long)o * I + i); });
    product.add(stage, AcrossK<P>{dz, O, O}, AcrossK<P>{x, x_stride, I}, m0, n0, 0, N);
    product.each(m0, n0, O, I, [=](int o, int i, T g) { dw[(long long)o * I + i] = g; });
}

// dx = dz w, or c (dz w); c may be null
template <class P>
__global__ void __launch_bounds__(P::THREADS)
dense_input_grad(int N, int I, int O, const typename P::Real* __restrict__ dz,
                 const typename P::Real* __restrict__ w, long long w_stride,
                 const typename P::Real* __restrict__ c, typename P::Real* dx)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    P product;
    product.clear();
    product.add(stage, AlongK<P>{dz, O, N}, AcrossK<P>{w, w_stride, I}, m0, n0, 0, O);
    product.each(m0, n0, N, I, [=](int n, int i, T g) {
        dx[(long long)n * I + i] = c ? g * c[i] : g;
    });
}

// ty = f'(y) (tx w^T + x tw^T + tb); tx, or tw and tb, may be null
template <class P>
__global__ void __launch_bounds__(P::THREADS)
dense_tangent(int N, int I, int O, const typename P::Real* __restrict__ x,
              const typename P::Real* __restrict__ w, const typename P::Real* __restrict__ y,
              const typename P::Real* __restrict__ tx, const typename P::Real* __restrict__ tw,
              const typename P::Real* __restrict__ tb, int act, typename P::Real slope,
              typename P::Real* ty)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN;
    P product;
    product.clear();
    if (tx) product.add(stage, AlongK<P>{tx, I, N}, AlongK<P>{w, I, O}, m0, n0, 0, I);
    if (tw) product.add(stage, AlongK<P>{x, I, N}, AlongK<P>{tw, I, O}, m0, n0, 0, I);
    product.each(m0, n0, N, O, [=](int m, int n, T tz) {
        const long long at = (long long)m * O + n;
        ty[at] = pull(act, slope, y[at], tb ? tz + tb[n] : tz);
    });
}

// dz = f'(y) dy, and db = beta db + the sum of dz over its rows, in one pass. db may be null; dy may
// hold V cotangents stacked over the N rows of y.
template <typename T>
__global__ void __launch_bounds__(1024)
dense_pull(int VN, int N, int O, int act, T slope, const T* __restrict__ y, const T* dy, T beta,
           T* dz, T* db)
{
    const auto term = [=](int row, int column) {
        const long long at = (long long)row * O + column;
        return dz[at] = pull(act, slope, y[(long long)(row % N) * O + column], dy[at]);
    };
    sum_down<T>(VN, O, beta, db, term, Plus());
}

// out (rows, columns) = the sum over v of |a[v]|**power, a (V, rows, columns), and total = beta total
// + the sum of out over its rows. out may be null, and total.
template <typename T>
__global__ void __launch_bounds__(1024)
dense_powers(int V, int rows, int columns, const T* __restrict__ a, int power, T* out, T beta,
             T* total)
{
    const auto term = [=](int row, int column) {
        const long long at = (long long)row * columns + column;
        T sum = T(0);
        for (int v = 0; v < V; ++v)
            sum = add_raised(power, a[v * (long long)rows * columns + at], sum);
        if (out) out[at] = sum;
        return sum;
    };
    sum_down<T>(rows, columns, beta, total, term, Plus());
}

// dw[n] = dz[n] x[n]^T and db[n] = dz[n], overwritten; samples lie dw_stride and db_stride apart.
template <typename T>
__global__ void dense_sample_grads(long long count, int I, int O, const T* __restrict__ x,
                                   const T* __restrict__ dz, T* dw, long long dw_stride, T* db,
                                   long long db_stride)
{
    const long long per_sample = (long long)I * O;
    for (long long at = thread_index(); at < count; at += thread_count()) {
        const long long n = at / per_sample, inside = at % per_sample;
        const int o = inside / I, i = inside % I;
        const T d = dz[n * O + o];
        dw[n * dw_stride + inside] = d * x[n * I + i];
        if (db && i == 0) db[n * db_stride + o] = d;
    }
}

// dw += |w| traffic, where traffic (I,) is what flowed through each input.
template <typename T>
__global__ void dense_signal(long long count, int I, const T* __restrict__ w,
                             const T* __restrict__ traffic, T* dw)
{
    for (long long at = thread_index(); at < count; at += thread_count())
        dw[at] = fma(fabs(w[at]), traffic[at % I], dw[at]);
}

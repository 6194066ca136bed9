// A convolution's products beyond training: its Jacobian, and gradients of single samples.

// ty = f'(y) (tx * w + x * tw + tb); tx, or tw and tb, may be null
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_tangent(GEOMETRY, const typename P::Real* __restrict__ x,
               const typename P::Real* __restrict__ w, const typename P::Real* __restrict__ y,
               const typename P::Real* __restrict__ tx, const typename P::Real* __restrict__ tw,
               const typename P::Real* __restrict__ tb, int act, typename P::Real slope,
               typename P::Real* ty)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, taps = R * S * C;
    ByPosition<P> windows{WINDOWS(x)};
    P product;
    product.clear();
    // A loop over the two, for the code of a product is long.
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
        const T* filters = turn ? tw : w;
        windows.images = turn ? x : tx;
        if (filters && windows.images)
            product.add(stage, windows, AlongK<P>{filters, taps, O}, m0, n0, 0, taps);
    }
    product.each(m0, n0, windows.positions, O, [=](int p, int o, T tz) {
        const long long at = (long long)p * O + o;
        ty[at] = pull(act, slope, y[at], tb ? tz + tb[o] : tz);
    });
}

// Each sample's own gradient, overwritten; samples lie dw_stride and db_stride apart.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_sample_grads(GEOMETRY, const typename P::Real* __restrict__ x,
                    const typename P::Real* __restrict__ dz, typename P::Real* dw,
                    long long dw_stride, typename P::Real* db, long long db_stride)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, area = rows * columns;
    const ByTap<P> windows{WINDOWS(x)};
    const AcrossK<P> cotangents{dz, O, O};
    for (int n = blockIdx.z; n < N; n += gridDim.z) {
        P product;
        product.clear();
        product.add(stage, windows, cotangents, m0, n0, n * area, (n + 1) * area);
        deliver(product, m0, n0, windows.taps, O, T(0), (T*)nullptr, dw + n * dw_stride,
                db ? db + n * db_stride : db);
    }
}

// dw += sum over n, v of |g|**power, g the gradient of sample n for cotangent v: a tile of it is
// formed, raised and added to a second tile, and never leaves the registers. blockIdx.z: a group
// of samples; as in conv2d_weight_grad, several groups wait in `work`.
template <class P>
__global__ void __launch_bounds__(P::THREADS)
conv2d_accumulate(GEOMETRY, int V, const typename P::Real* __restrict__ x,
                  const typename P::Real* __restrict__ dz, int power, typename P::Real* work,
                  typename P::Real* dw, typename P::Real* db)
{
    typedef typename P::Real T;
    __shared__ typename P::Stage stage;
    const int m0 = blockIdx.x * P::BM, n0 = blockIdx.y * P::BN, area = rows * columns;
    const ByTap<P> windows{WINDOWS(x)};
    const Group group(N);
    P total;
    total.clear();
    for (int turn = group.begin * V; turn < group.end * V; ++turn) {
        const int n = turn / V, v = turn - n * V;
        const AcrossK<P> cotangents{dz + v * (long long)N * area * O, O, O};
        P product;
        product.clear();
        product.add(stage, windows, cotangents, m0, n0, n * area, (n + 1) * area);
        total.add_raised(product, power);
    }
    deliver(total, m0, n0, windows.taps, O, T(1), work, dw, db);
}

// Dense layers most of whose weights are zero; what it means is in reference/sparse.py. Samples lie
// side by side, so the threads of a row of y read neighbouring numbers of x.

// y (O, N) = f(W x (I, N) + b): rows are outputs o, places samples n. b may be null.
template <typename T>
__global__ void __launch_bounds__(256)
sparse_dense_forward(int O, int N, const T* __restrict__ x, const int* __restrict__ starts,
                     const int* __restrict__ columns, const T* __restrict__ values,
                     const T* __restrict__ b, int act, T slope, T* y)
{
    for (int o = row_index(); o < O; o += row_count())
        for (int n = place_index(); n < N; n += place_count()) {
            T total = T(0);
            for (int e = starts[o]; e < starts[o + 1]; ++e)
                total = fma(values[e], x[(long long)columns[e] * N + n], total);
            y[(long long)o * N + n] = activate(act, slope, b ? total + b[o] : total);
        }
}

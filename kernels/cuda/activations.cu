// Elementwise kernels: every thread takes elements a whole grid apart.

template <typename T>
__global__ void activation_forward(long long count, int act, T slope, const T* __restrict__ x, T* y)
{
    for (long long i = thread_index(); i < count; i += thread_count())
        y[i] = activate(act, slope, x[i]);
}

// dx = f'(y) dy; dy may hold several cotangents stacked over the `period` elements of y.
template <typename T>
__global__ void activation_backward(long long count, long long period, int act, T slope,
                                    const T* __restrict__ y, const T* dy, T* dx)
{
    for (long long i = thread_index(); i < count; i += thread_count())
        dx[i] = pull(act, slope, y[period == count ? i : i % period], dy[i]);
}

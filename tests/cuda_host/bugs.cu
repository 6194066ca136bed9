// One mistake in each kernel. The line where it must be reported says so, and of which kind it is.

// ---- races ----

// The next tile overwrites what other threads still read.
extern "C" __global__ void no_second_barrier(const float* x, float* y, int tiles)
{
    __shared__ float tile[64];
    const int t = threadIdx.x;
    float sum = 0.0f;
    for (int i = 0; i < tiles; ++i) {
        tile[t] = x[i * 64 + t];  // caught: race
        __syncthreads();
        sum += tile[63 - t];
    }
    y[t] = sum;
}

extern "C" __global__ void no_barrier(const float* x, float* y)
{
    extern __shared__ float part[];
    const int t = threadIdx.x;
    if (t == 0) part[0] = 0.0f;
    __syncthreads();
    if (t == 0) part[0] = x[0];  // caught in reverse: race
    y[t] = part[0];  // caught: race
}

// Lanes of a warp do not run in lock step.
extern "C" __global__ void no_syncwarp(float* y)
{
    __shared__ float places[32];
    const int t = threadIdx.x;
    places[t] = 0.0f;
    __syncwarp();
    places[t] = float(t);  // caught: race
    y[t] = places[t ^ 1];
}

// A shuffle moves registers; memory is not put in order by it.
extern "C" __global__ void shuffle_as_barrier(float* y)
{
    __shared__ float places[32];
    const int t = threadIdx.x;
    places[t] = float(t);
    const float other = __shfl_xor_sync(0xffffffffu, float(t), 1);
    y[t] = places[t ^ 1] + other;  // caught: race
}

extern "C" __global__ void no_atomic(const float* x, float* sum)
{
    sum[threadIdx.x] += x[blockIdx.x * blockDim.x + threadIdx.x];  // caught: race
}

extern "C" __global__ void half_atomic(float* sum)
{
    if (threadIdx.x % 2) atomicAdd(sum, 1.0f);  // caught in reverse: race
    else sum[0] += 1.0f;  // caught: race
}

// Blocks run in any order, or at once.
extern "C" __global__ void from_block_before(float* x)
{
    if (threadIdx.x == 0) x[blockIdx.x + 1] = x[blockIdx.x] + 1.0f;  // caught: race
}

// ---- bounds ----

extern "C" __global__ void past_global(const float* x, float* y, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= count) y[i] = x[0];  // caught: out-of-bounds
}

extern "C" __global__ void before_global(const float* x, float* y)
{
    y[threadIdx.x] = x[int(threadIdx.x) - 1];  // caught: out-of-bounds
}

// x holds rows with a gap between them.
extern "C" __global__ void between_rows(const float* x, float* y, int columns)
{
    if (int(threadIdx.x) <= columns) y[threadIdx.x] = x[threadIdx.x];  // caught: out-of-bounds
}

extern "C" __global__ void null_pointer(const float* x, float* y)
{
    y[threadIdx.x] = x[threadIdx.x];  // caught: out-of-bounds
}

extern "C" __global__ void past_dynamic_shared(float* y)
{
    extern __shared__ float part[];
    part[threadIdx.x] = 1.0f;  // caught: out-of-bounds
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" __global__ void past_array(float* y, int shift)
{
    __shared__ float left[32];
    __shared__ float right[32];
    left[threadIdx.x] = 1.0f;
    right[threadIdx.x] = 2.0f;
    __syncthreads();
    y[threadIdx.x] = left[threadIdx.x + shift] + right[threadIdx.x];  // caught: array-bounds
}

// ---- barriers and collectives ----

extern "C" __global__ void barrier_in_branch(float* y)
{
    if (threadIdx.x < 16) __syncthreads();  // caught: barrier-divergence
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void two_barriers(float* y)
{
    if (threadIdx.x < 16) {
        y[threadIdx.x] = 1.0f;
        __syncthreads();  // caught in reverse: barrier-divergence
    } else {
        y[threadIdx.x] = 2.0f;
        __syncthreads();  // caught: barrier-divergence
    }
}

extern "C" __global__ void two_kinds_of_barrier(float* y)
{
    if (threadIdx.x == 3) __syncwarp();
    else __syncthreads();  // caught: deadlock
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void shuffle_in_branch(const float* x, float* y)
{
    float value = x[threadIdx.x];
    if (threadIdx.x % 2 == 0) value = __shfl_xor_sync(0xffffffffu, value, 2);  // caught in reverse: warp-divergence
    else value = __shfl_xor_sync(0xffffffffu, value, 4);  // caught: warp-divergence
    y[threadIdx.x] = value;
}

extern "C" __global__ void shuffle_after_return(const float* x, float* y, int count)
{
    if (int(threadIdx.x) >= count) return;
    float value = x[threadIdx.x];
    value += __shfl_down_sync(0xffffffffu, value, 1);  // caught: warp-mask
    y[threadIdx.x] = value;
}

extern "C" __global__ void shuffle_from_outside(const float* x, float* y)
{
    float value = x[threadIdx.x];
    if (threadIdx.x < 16) value = __shfl_sync(0x0000ffffu, value, 20);  // caught: shfl-inactive
    y[threadIdx.x] = value;
}

extern "C" __global__ void other_masks(float* y)
{
    const unsigned mask = threadIdx.x < 16 ? 0xffffffffu : 0xffff0000u;
    y[threadIdx.x] = float(__ballot_sync(mask, 1));  // caught: warp-mask
}

// ---- the rest ----

extern "C" __global__ void uninitialised_shared(float* y)
{
    __shared__ float places[64];
    if (threadIdx.x < 31) places[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = places[threadIdx.x];  // caught: uninitialised
}

extern "C" __global__ void misaligned(const float* x, float* y)
{
    const float4 value = *(const float4*)(x + 1);  // caught: misaligned
    y[threadIdx.x] = value.x + value.w;
}

extern "C" __global__ void writes_const(const float* x)
{
    ((float*)x)[threadIdx.x] = 0.0f;  // caught: write-to-const
}

extern "C" __global__ void __launch_bounds__(64)
too_many_threads(float* y)
{  // caught: trap
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void failed_assertion(float* y)
{
    assert(threadIdx.x < 16);  // caught: trap
    y[threadIdx.x] = 1.0f;
}

// ---- what is not caught (docs/cuda-on-host.md) ----

extern "C" __global__ void past_local_array(float* y, int count)
{
    float values[4];
    float* at = values;
    for (int i = 0; i < count; ++i) at[i] = float(i);
    y[threadIdx.x] = at[threadIdx.x & 3];
}

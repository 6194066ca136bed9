// Kernels without a mistake, each with something that a checker could wrongly complain of.

// Lanes exchange through shared memory, kept apart by __syncwarp alone.
extern "C" __global__ void exchange_in_warps(float* out)
{
    __shared__ float places[64];
    const int t = threadIdx.x;
    places[t] = float(t);
    __syncwarp();
    const float neighbour = places[t ^ 1];
    __syncwarp();
    places[t] = neighbour + 1.0f;
    __syncwarp();
    out[blockIdx.x * blockDim.x + t] = places[t ^ 2];
}

// Blocks and grids of three axes, a last warp that is short, and a barrier that counts.
extern "C" __global__ void three_axes(int* out)
{
    __shared__ int places[1024];
    const int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int n = blockDim.x * blockDim.y * blockDim.z;
    places[t] = t;
    __syncthreads();
    const int thirds = __syncthreads_count(t % 3 == 0);
    const int all = __syncthreads_and(t < n), any = __syncthreads_or(t == n);
    out[b * n + t] = places[n - 1 - t] * 1000 + thirds + (all && !any ? 0 : 500);
}

// C = A B by tiles in static shared memory, two barriers a step.
template <typename T, int TILE>
__global__ void __launch_bounds__(TILE* TILE, 1)
product(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ c, int M, int N, int K)
{
    __shared__ T left[TILE][TILE + 1], right[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    T sum = T(0);
    for (int k0 = 0; k0 < K; k0 += TILE) {
        left[y][x] = row < M && k0 + x < K ? a[(long long)row * K + k0 + x] : T(0);
        right[y][x] = k0 + y < K && column < N ? b[(long long)(k0 + y) * N + column] : T(0);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; ++k) sum = fma(left[y][k], right[k][x], sum);
        __syncthreads();
    }
    if (row < M && column < N) c[(long long)row * N + column] = sum;
}

// The sum of each row, one block a row: shuffles within warps, dynamic shared memory between them.
extern "C" __global__ void __launch_bounds__(256) row_sums(const float* x, float* sums, int columns)
{
    extern __shared__ float of_warps[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    float sum = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x)
        sum += x[(long long)blockIdx.x * columns + c];
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0) of_warps[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0.0f;
        for (int w = 0; w < warps; ++w) total += of_warps[w];
        sums[blockIdx.x] = total;
    }
}

// Column sums by vector loads and atomic additions from many blocks.
extern "C" __global__ void column_sums(const float4* __restrict__ x, float* sums, int rows,
                                       int quads, int rows_of_block)
{
    const int quad = blockIdx.x * blockDim.x + threadIdx.x;
    if (quad >= quads) return;
    const int begin = blockIdx.y * rows_of_block, end = min(rows, begin + rows_of_block);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int r = begin; r < end; ++r) {
        const float4 value = __ldg(x + (long long)r * quads + quad);
        sum.x += value.x;
        sum.y += value.y;
        sum.z += value.z;
        sum.w += value.w;
    }
    atomicAdd(sums + 4 * quad, sum.x);
    atomicAdd(sums + 4 * quad + 1, sum.y);
    atomicAdd(sums + 4 * quad + 2, sum.z);
    atomicAdd(sums + 4 * quad + 3, sum.w);
}

// In place, over any grid: `x` and `y` may be the same array.
extern "C" __global__ void scale(const float* x, float* y, float factor, long long count)
{
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = first; i < count; i += (long long)gridDim.x * blockDim.x)
        y[i] = factor * x[i];
}

// Neighbouring threads write neighbouring bytes, in shared and in global memory.
extern "C" __global__ void bytes(const unsigned char* x, unsigned char* y, bool* odd)
{
    __shared__ unsigned char places[64];
    const int t = threadIdx.x;
    places[t] = x[t];
    __syncthreads();
    y[t] = places[63 - t];
    odd[t] = places[63 - t] % 2 != 0;
}

// The halves of a warp go separate ways, each with a mask of its own.
extern "C" __global__ void halves(int* out)
{
    const int lane = threadIdx.x % 32;
    int value = lane;
    if (lane < 16) {
        for (int offset = 8; offset > 0; offset /= 2)
            value += __shfl_xor_sync(0x0000ffffu, value, offset);
    } else {
        value = __shfl_sync(0xffff0000u, value, 3, 16);
        value += __popc(__ballot_sync(0xffff0000u, lane % 4 == 0));
    }
    __syncwarp();
    value += __shfl_up_sync(0xffffffffu, value, 1) + __shfl_down_sync(0xffffffffu, value, 1);
    if (__any_sync(0xffffffffu, lane == 40) || !__all_sync(0xffffffffu, lane < 40)) value = -1;
    out[threadIdx.x] = value;
}

// A histogram in shared memory: atomic operations of several warps on the same places.
extern "C" __global__ void histogram(const int* x, int* counts, int count)
{
    __shared__ int bins[8];
    if (threadIdx.x < 8) bins[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) atomicAdd(bins + x[i] % 8, 1);
    __syncthreads();
    if (threadIdx.x < 8) atomicAdd(counts + threadIdx.x, bins[threadIdx.x]);
}

// Rows of x and y lie apart by strides.
extern "C" __global__ void copy_rows(const float* x, long long x_stride, float* y,
                                     long long y_stride, int columns)
{
    for (int c = threadIdx.x; c < columns; c += blockDim.x)
        y[blockIdx.x * y_stride + c] = x[blockIdx.x * x_stride + c];
}

__constant__ float table[4] = {1.0f, 2.0f, 4.0f, 8.0f};

// A table of constants, and pointers that may be null.
extern "C" __global__ void look_up(const int* x, const float* bias, float* y)
{
    const int t = threadIdx.x;
    y[t] = table[x[t] & 3] + (bias ? bias[t] : 0.0f);
}

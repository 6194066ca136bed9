// What CUDA's language has by itself, one call a line, so that the host's and NVRTC's agree on it.

template <typename T>
__global__ void mathematics(const T* x, const T* y, T* out)
{
    const T a = x[threadIdx.x], b = y[threadIdx.x];
    T* at = out + threadIdx.x;
    const int n = blockDim.x;
    *at = exp(a), at += n;
    *at = log(b), at += n;
    *at = tanh(a), at += n;
    *at = sqrt(b), at += n;
    *at = rsqrt(b), at += n;
    *at = fabs(a), at += n;
    *at = fma(a, b, a), at += n;
    *at = fmin(a, b), at += n;
    *at = fmax(a, b), at += n;
    *at = min(a, b), at += n;
    *at = max(a, b), at += n;
    *at = pow(b, a), at += n;
    *at = floor(a), at += n;
    *at = expm1(a), at += n;
    *at = log1p(b), at += n;
    *at = erf(a), at += n;
    *at = isfinite(a) && !isnan(a) && !isinf(a) ? T(1) : T(0), at += n;
    *at = a < T(0) ? __ldg(x) : T(0);
}

extern "C" __global__ void of_floats(const float* x, const float* y, float* out)
{
    const float a = x[threadIdx.x], b = y[threadIdx.x];
    float* at = out + threadIdx.x;
    const int n = blockDim.x;
    *at = expf(a), at += n;
    *at = logf(b), at += n;
    *at = tanhf(a), at += n;
    *at = sqrtf(b), at += n;
    *at = rsqrtf(b), at += n;
    *at = fabsf(a), at += n;
    *at = fmaf(a, b, a), at += n;
    *at = fminf(a, b), at += n;
    *at = fmaxf(a, b), at += n;
    *at = __expf(a), at += n;
    *at = __logf(b), at += n;
    *at = __fdividef(a, b), at += n;
    *at = __fadd_rn(__fmul_rn(a, b), a), at += n;
    *at = __saturatef(a), at += n;
    *at = __int2float_rn(__float2int_rn(a)), at += n;
    *at = __uint_as_float(__float_as_uint(a)), at += n;
    *at = a > 0.0f ? __int_as_float(0x7f800000) : __int_as_float(0x7fc00000);
}

extern "C" __global__ void of_bits(const unsigned* x, const unsigned long long* y,
                                   unsigned long long* out)
{
    const unsigned a = x[threadIdx.x];
    const unsigned long long b = y[threadIdx.x];
    unsigned long long* at = out + threadIdx.x;
    const int n = blockDim.x;
    *at = __umulhi(a, 0x9e3779b9u), at += n;
    *at = __umul64hi(b, 0x9e3779b97f4a7c15ull), at += n;
    *at = __popc(a), at += n;
    *at = __popcll(b), at += n;
    *at = __clz(a), at += n;
    *at = __clzll(b), at += n;
    *at = __ffs(a), at += n;
    *at = __brev(a), at += n;
    *at = min(a, 1000u), at += n;
    *at = max(b, 1000ull), at += n;
    *at = __double_as_longlong(__longlong_as_double(b));
}

// Loads and stores of vectors of every kind.
extern "C" __global__ void of_vectors(const float4* a, const double2* b, const int2* c,
                                      const uchar4* d, double* out)
{
    const float4 p = __ldg(a);
    const double2 q = b[0];
    const int2 r = make_int2(c[0].x, c[0].y);
    const uchar4 s = d[0];
    const float3 t = make_float3(p.x, p.y, p.z);
    out[0] = double(t.x) + p.w;
    out[1] = q.x - q.y;
    out[2] = r.x * r.y;
    out[3] = s.x + s.w;
    out[4] = sizeof(float4) + sizeof(float3) + sizeof(double2) + sizeof(uchar4);
}

extern "C" __global__ void of_atomics(unsigned* count, double* sums, int* extremes,
                                      unsigned long long* total)
{
    const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(count, 1u);
    atomicAdd(sums, 0.5);
    atomicMax(extremes, int(t));
    atomicMin(extremes + 1, -int(t));
    atomicAdd(total, 3ull);
    atomicOr(count + 1, 1u << t % 32);
    atomicAnd(count + 2, ~(1u << t % 32));
    atomicXor(count + 3, t);
    atomicInc(count + 4, 9u);
    if (atomicCAS(count + 5, 0u, t + 1) == 0u) atomicExch(count + 6, 77u);
}

// D = C + A B by one warp, for A (16, 8), B (8, 8), C and D (16, 8), on tensor cores.
__device__ unsigned to_tf32(float value)
{
#ifdef CUDA_ON_HOST
    return coh_to_tf32(value);
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
#endif
}

__device__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#ifdef CUDA_ON_HOST
    coh_mma_tf32(d, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

extern "C" __global__ void tensor_core(const float* a, const float* b, const float* c, float* d)
{
    const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
    const unsigned left[4] = {
        to_tf32(a[group * 8 + member]),
        to_tf32(a[(group + 8) * 8 + member]),
        to_tf32(a[group * 8 + member + 4]),
        to_tf32(a[(group + 8) * 8 + member + 4]),
    };
    const unsigned right[2] = {
        to_tf32(b[member * 8 + group]),
        to_tf32(b[(member + 4) * 8 + group]),
    };
    const int first = group * 8 + 2 * member, second = first + 64;
    float sums[4] = {c[first], c[first + 1], c[second], c[second + 1]};
    mma_tf32(sums, left, right);
    d[first] = sums[0];
    d[first + 1] = sums[1];
    d[second] = sums[2];
    d[second + 1] = sums[3];
}

extern "C" __global__ void rounded_to_tf32(const float* x, unsigned* bits)
{
    bits[threadIdx.x] = to_tf32(x[threadIdx.x]);
}

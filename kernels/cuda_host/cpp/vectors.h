// float4 and its kin, aligned as CUDA aligns them.
#pragma once
#include "interface.h"

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef long long longlong;
typedef unsigned long long ulonglong;

#define COH_VECTORS_OF_3(type)                                                        \
    struct type##3 { type x, y, z; };                                                 \
    inline type##3 make_##type##3(type x, type y, type z) { return {x, y, z}; }
#define COH_VECTORS(type)                                                             \
    struct type##1 { type x; };                                                       \
    struct alignas(2 * sizeof(type)) type##2 { type x, y; };                          \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) type##4             \
    {                                                                                 \
        type x, y, z, w;                                                              \
    };                                                                                \
    inline type##2 make_##type##2(type x, type y) { return {x, y}; }                  \
    inline type##4 make_##type##4(type x, type y, type z, type w) { return {x, y, z, w}; }

COH_VECTORS(char)
COH_VECTORS(uchar)
COH_VECTORS(short)
COH_VECTORS(ushort)
COH_VECTORS(int)
COH_VECTORS(uint)
COH_VECTORS(longlong)
COH_VECTORS(ulonglong)
COH_VECTORS(float)
COH_VECTORS(double)
COH_VECTORS_OF_3(char)
COH_VECTORS_OF_3(uchar)
COH_VECTORS_OF_3(short)
COH_VECTORS_OF_3(ushort)
COH_VECTORS_OF_3(int)
COH_VECTORS_OF_3(longlong)
COH_VECTORS_OF_3(ulonglong)
COH_VECTORS_OF_3(float)
COH_VECTORS_OF_3(double)
inline uint3 make_uint3(uint x, uint y, uint z) { return {x, y, z}; }  // interface.h has uint3
#undef COH_VECTORS
#undef COH_VECTORS_OF_3

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

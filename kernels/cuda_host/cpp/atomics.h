// Atomic operations. Threads change over at barriers only, so each is done in one piece anyway; the
// checker is told that it was meant to be.
#pragma once
#include "interface.h"
#include "qualifiers.h"

#ifdef COH_CHECK
#define COH_ATOMIC COH_UNWATCHED __noinline__
#define COH_NOTE(at) coh_note_atomic((void*)(at), sizeof *(at), __builtin_return_address(0))
#else
#define COH_ATOMIC inline
#define COH_NOTE(at) ((void)0)
#endif

// The second argument takes the type of the first, as CUDA's overloads make it.
template <class T>
struct coh_same {
    typedef T type;
};

#define COH_ATOMIC_OPERATION(name, result)                        \
    template <class T>                                            \
    COH_ATOMIC T name(T* at, typename coh_same<T>::type value)    \
    {                                                             \
        COH_NOTE(at);                                             \
        const T old = *at;                                        \
        *at = static_cast<T>(result);                             \
        return old;                                               \
    }

COH_ATOMIC_OPERATION(atomicAdd, old + value)
COH_ATOMIC_OPERATION(atomicSub, old - value)
COH_ATOMIC_OPERATION(atomicMax, old > value ? old : value)
COH_ATOMIC_OPERATION(atomicMin, old < value ? old : value)
COH_ATOMIC_OPERATION(atomicExch, value)
COH_ATOMIC_OPERATION(atomicAnd, old & value)
COH_ATOMIC_OPERATION(atomicOr, old | value)
COH_ATOMIC_OPERATION(atomicXor, old ^ value)
COH_ATOMIC_OPERATION(atomicInc, old >= value ? 0 : old + 1)
COH_ATOMIC_OPERATION(atomicDec, old == 0 || old > value ? value : old - 1)
#undef COH_ATOMIC_OPERATION

template <class T>
COH_ATOMIC T atomicCAS(T* at, typename coh_same<T>::type expected,
                       typename coh_same<T>::type value)
{
    COH_NOTE(at);
    const T old = *at;
    if (old == expected) *at = value;
    return old;
}

/* What all kernels stand on: one rounding where it says fma, and none that is not written.

   Contraction is off: clang obeys the standard's pragma, gcc does not know it, and only contracts
   outside -std=c99. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__STRICT_ANSI__)
#pragma GCC optimize("fp-contract=off")
#endif

/* WS_FMA(a, b, c) = a b + c, rounded once where the target has such an instruction. Elsewhere twice:
   then results agree to rounding, not to the bit. */
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA) || \
    defined(__aarch64__) || defined(__riscv_f)
#define WS_FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#define WS_HARD 1 /* there are registers for floats */
#else
#define WS_FMA(a, b, c) ((a) * (b) + (c))
#define WS_HARD 0
#endif

/* Weights that are printed with the program: in flash on AVR, which reads it by an instruction of its
   own; everywhere else read-only data. WS_FLASH may be defined as an attribute that places them. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define WS_FLASH PROGMEM
#define WS_BYTE(number) pgm_read_byte(&(number))
#define WS_W8(number) ((int8_t)pgm_read_byte(&(number)))
#define WS_W16(number) pgm_read_word(&(number))
#define WS_W32(number) ((int32_t)pgm_read_dword(&(number)))
#define WS_COPY(to, from, bytes) memcpy_P((to), (from), (bytes))
#else
#ifndef WS_FLASH
#define WS_FLASH
#endif
#define WS_BYTE(number) (number)
#define WS_W8(number) (number)
#define WS_W16(number) (number)
#define WS_W32(number) (number)
#define WS_COPY(to, from, bytes) memcpy((to), (from), (bytes))
#endif
#if defined(__AVR__) && !defined(WS_LEARNS)
#define WS_W(number) pgm_read_float(&(number))
#else
#define WS_W(number) (number) /* where all weights are learned they lie in memory */
#endif

/* Two products of int16 by one instruction (Cortex-M4, M7). Asked for elsewhere, they are the same in
   plain C: sums of whole numbers have no order. */
#if !defined(WS_SIMD32)
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define WS_SIMD32 1
#else
#define WS_SIMD32 0
#endif
#endif

/* WS_IN_ORDER: gcc, left to itself, loads the numbers of a block long before they are used, and has no
   registers left for them. Cortex-M3 fares better by that. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__ARM_ARCH_7M__)
#define WS_IN_ORDER __attribute__((optimize("no-schedule-insns")))
#else
#define WS_IN_ORDER
#endif

/* WS_APART: a function with the innermost loops of many. Inlined into the others it would lose its
   registers to them. WS_WITHIN: a few lines of another's innermost loop, where its steps are numbers. */
#if defined(__GNUC__)
#define WS_WITHIN inline __attribute__((always_inline))
#define WS_UNUSED __attribute__((unused))
#define WS_APART __attribute__((noinline))
#else
#define WS_WITHIN
#define WS_UNUSED
#define WS_APART
#endif

#ifndef WS_ACTS
#define WS_ACTS 31 /* all activations */
#endif

/* What a program of the harness needs of the machine that it runs on: input, output, a counter and
   the stack. One file of this folder implements it for each kind of machine. */

#ifndef WS_HARNESS_H
#define WS_HARNESS_H

#include <stddef.h>
#include <stdint.h>

/* the next bytes of what the program was given */
void ws_read(void *to, size_t bytes);

/* further bytes of its answer */
void ws_write(const void *from, size_t bytes);

/* the end: 0, or that something is wrong */
void ws_exit(int status);

/* what was executed so far, in the target's ticks; always 0 where nothing counts */
uint64_t ws_count(void);

int main(void);

/* The stack: WS_STACK_END is the lowest byte that it may have, ws_stack_pointer() the lowest that it
   has. Where neither is known the stack is not measured. */
#if defined(__thumb__) || (defined(__riscv) && __riscv_xlen == 32)
extern uint8_t ws_stack_end[];
#define WS_STACK_END ws_stack_end
#elif defined(__AVR__)
extern uint8_t __heap_start;
#define WS_STACK_END (&__heap_start)
#endif

#ifdef WS_STACK_END
static inline __attribute__((always_inline)) uint8_t *ws_stack_pointer(void) {
    uint8_t *at;
#if defined(__thumb__)
    __asm__ volatile("mov %0, sp" : "=r"(at));
#elif defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(at));
#else /* AVR: it points to the byte that is written next */
    __asm__ volatile("in %A0, __SP_L__\n\tin %B0, __SP_H__" : "=r"(at));
    ++at;
#endif
    return at;
}
#endif

#endif

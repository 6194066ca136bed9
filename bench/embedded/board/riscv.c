/* Start-up of a bare RV32, and its counter of retired instructions. */

#include "harness.h"

/* Only here: with zicsr in -march gcc 12 would link the libraries of another processor. */
#define CSR ".option arch, +zicsr\n\t"

extern uint32_t ws_bss[], ws_bss_end[];

uint64_t ws_count(void) {
    uint32_t low, high, again;
    do {
        __asm__ volatile(CSR "csrr %0, minstreth\n\tcsrr %1, minstret\n\tcsrr %2, minstreth"
                         : "=&r"(high), "=&r"(low), "=&r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

__attribute__((used)) static void on_trap(void) { ws_exit(1); }

__attribute__((used)) static void start(void) {
    uint32_t *to;
    for (to = ws_bss; to < ws_bss_end; ++to) {
        *to = 0;
    }
    ws_exit(main());
}

/* FS in mstatus: the floating-point unit is off after reset, where there is one */
__asm__(CSR ".section .vectors, \"ax\"\n"
        ".globl _start\n"
        "_start:\n"
        "    la sp, ws_stack_top\n"
        "    la t0, on_trap\n"
        "    csrw mtvec, t0\n"
        "    li t0, 0x2000\n"
        "    csrs mstatus, t0\n"
        "    call start\n"
        ".text\n");

/* Start-up of a Cortex-M, and SysTick as the counter: it runs with the processor's clock, and in the
   emulator with -icount shift=0 an instruction takes a nanosecond. */

#include "harness.h"

extern uint32_t ws_data_from[], ws_data[], ws_data_end[], ws_bss[], ws_bss_end[];
extern uint32_t ws_stack_top[];

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xe000e010UL)
#define SYST_RVR REGISTER(0xe000e014UL)
#define SYST_CVR REGISTER(0xe000e018UL)
#define CPACR REGISTER(0xe000ed88UL)
#define LAST 0xffffffUL /* it counts down from here */

static volatile uint32_t rounds;

static void on_tick(void) { ++rounds; }

uint64_t ws_count(void) {
    uint32_t before, left;
    do {
        before = rounds;
        left = SYST_CVR;
    } while (before != rounds);
    return (((uint64_t)before) << 24) + (LAST - left);
}

static void on_fault(void) { ws_exit(1); }

static void start(void) {
    uint32_t *to, *from = ws_data_from;
    for (to = ws_data; to < ws_data_end; ++to, ++from) {
        *to = *from;
    }
    for (to = ws_bss; to < ws_bss_end; ++to) {
        *to = 0;
    }
#ifdef __ARM_FP
    CPACR |= 0xfUL << 20; /* the floating-point unit is off after reset */
    __asm__ volatile("dsb\n\tisb");
#endif
    SYST_RVR = LAST;
    SYST_CVR = 0;
    SYST_CSR = 7; /* the processor's clock, an interrupt a round */
    ws_exit(main());
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler handlers[15];
} vectors = {
    ws_stack_top,
    {start, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault, on_fault,
     on_fault, on_fault, on_fault, on_fault, on_tick},
};

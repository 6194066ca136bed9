/* A program of nothing but start-up and, with WS_WITH, the network: the difference is its size.

   What it computes with is not known to the compiler, which would compute it in advance. */

#include "harness.h"
#include "net.h"

static uint8_t arena[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)));
#ifdef NET_BATCH
static float x[(size_t)NET_BATCH * NET_INPUTS];
static int32_t labels[NET_BATCH];
static uint8_t slots[NET_SAVE_BYTES];
#else
static float x[NET_INPUTS];
#endif
static float y[NET_OUTPUTS];

/* the compiler must take all of these as read and written */
#define KNOWN_TO_NOBODY(array) __asm__ volatile("" : : "r"(array) : "memory")

int main(void) {
    KNOWN_TO_NOBODY(arena);
    KNOWN_TO_NOBODY(x);
    KNOWN_TO_NOBODY(y);
#ifdef NET_BATCH
    KNOWN_TO_NOBODY(labels);
    KNOWN_TO_NOBODY(slots);
#endif
#ifdef WS_WITH
#ifdef NET_PREPARE
    net_prepare(x);
#endif
    net_predict(arena, x, y);
#ifdef NET_BATCH
    net_start(arena);
    x[0] = net_learn_step(arena, x, labels);
#ifdef WS_IMPORTANCE
    WS_IMPORTANCE;
#endif
    net_end_task(arena);
    net_save(arena, slots);
    return net_restore(arena, slots);
#endif
#endif
    return 0;
}

void ws_exit(int status) {
    (void)status;
    for (;;) {
    }
}

/* A microcontroller that knows digits, is shown digits lying on their side, and learns these
   without forgetting the others. Everything that it computes with is in net.c, which weightspace printed. */

#include "digits.h"
#include "net.h"

static unsigned char arena[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)));
static float batch[NET_BATCH * NET_INPUTS];
static float outputs[NET_OUTPUTS];

/* ---- the outside: semihosting ---------------------------------------------------------------- */

static void ask(unsigned what, const void *with) {
    register unsigned r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void ws_exit(int status) {
    for (;;) {
        ask(0x18, (const void *)(status ? 0x20023U : 0x20026U));
    }
}

static void say(const char *text) { ask(0x04, text); }

static void say_number(int number) {
    char digits[12];
    int at = 11;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(digits + at);
}

/* ---- what it does ---------------------------------------------------------------------------- */

enum { SIDE = 14 };

static void look(const uint8_t *image, int lying, float *x) {
    int row, column;
    for (row = 0; row < SIDE; ++row) {
        for (column = 0; column < SIDE; ++column) {
            const int at = lying ? column * SIDE + SIDE - 1 - row : row * SIDE + column;
            x[row * SIDE + column] = (float)image[at] / 255.0F;
        }
    }
}

static int right(int lying) {
    int n, k, best, count = 0;
    for (n = 0; n < 200; ++n) {
        look(test_samples + n * NET_INPUTS, lying, batch);
        net_predict(arena, batch, outputs);
        for (best = 0, k = 1; k < NET_OUTPUTS; ++k) {
            best = outputs[k] > outputs[best] ? k : best;
        }
        count += best == test_labels[n];
    }
    return count;
}

static void report(const char *when) {
    say(when);
    say(": of 200 digits ");
    say_number(right(0));
    say(" right, of 200 lying digits ");
    say_number(right(1));
    say("\n");
}

int main(void) {
    int32_t y[NET_BATCH];
    int step, n;
    net_start(arena);
    report("as it was exported");
#ifdef EWC
    for (n = 0; n < 100; ++n) {
        look(samples + n * NET_INPUTS, 0, batch);
        net_importance(arena, batch);
    }
#endif
    net_end_task(arena);
    for (step = 0; step < 300; ++step) {
        for (n = 0; n < NET_BATCH; ++n) {
            const int row = (step * NET_BATCH + n) % 400;
            look(samples + row * NET_INPUTS, 1, batch + n * NET_INPUTS);
            y[n] = labels[row];
        }
        net_learn_step(arena, batch, y);
    }
    report("after 300 steps on lying digits");
    return 0;
}

/* Runs an exported network as it is told: reads commands, answers with the bits of what came out.

   A command is two numbers of 32 bits, what (a letter) and how many, and what it needs after it.
   Everything is little-endian, floats as they lie in memory; samples come as floats (capital letters)
   or as bytes that are divided by 255. */

#include "harness.h"
#include "net.h"

#include <string.h>

#define PAINT 0xa5
#define GUARD 16
#define DEEPEST 16384 /* bytes of stack that are painted, if there are so many */
#ifdef NET_BATCH
#define BATCH NET_BATCH
#else
#define BATCH 1
#endif

static struct {
    uint8_t before[GUARD];
    uint8_t bytes[NET_ARENA_BYTES];
    uint8_t after[GUARD];
} arena __attribute__((aligned(NET_ARENA_ALIGN)));
static float samples[(size_t)BATCH * NET_INPUTS];
static float answer[NET_OUTPUTS];

static void read_samples(int as_bytes, size_t count) {
    uint8_t chunk[64];
    const size_t numbers = count * NET_INPUTS;
    size_t at, i;
    if (!as_bytes) {
        ws_read(samples, numbers * sizeof(float));
        return;
    }
    for (at = 0; at < numbers; at += sizeof chunk) {
        const size_t here = numbers - at < sizeof chunk ? numbers - at : sizeof chunk;
        ws_read(chunk, here);
        for (i = 0; i < here; ++i) {
            samples[at + i] = (float)chunk[i] / 255.0F;
        }
    }
}

/* What a program does with a sample before it is given to predict is not counted. */
static void get_sample(int as_bytes) {
    read_samples(as_bytes, 1);
#ifdef NET_PREPARE
    net_prepare(samples);
#endif
}

/* p, P: outputs of so many samples, then ticks of all calls together */
static void predict(int as_bytes, uint32_t count) {
    uint64_t ticks = 0, begun;
    uint32_t n;
    for (n = 0; n < count; ++n) {
        get_sample(as_bytes);
        begun = ws_count();
        net_predict(arena.bytes, samples, answer);
        ticks += ws_count() - begun;
        ws_write(answer, sizeof answer);
    }
    ws_write(&ticks, sizeof ticks);
}

/* c: ticks of so many answers for one sample */
static void count_predict(uint32_t count) {
    uint64_t begun, ticks;
    uint32_t n;
    get_sample(0);
    begun = ws_count();
    for (n = 0; n < count; ++n) {
        net_predict(arena.bytes, samples, answer);
    }
    ticks = ws_count() - begun;
    ws_write(&ticks, sizeof ticks);
}

/* n: ticks of so many answers in int8 for one sample, which is given so */
static void count_int8(uint32_t count) {
#ifdef NET_INPUT_ZERO
    static int8_t given[NET_INPUTS], found[NET_OUTPUTS];
    uint64_t begun, ticks;
    uint32_t n;
    ws_read(given, sizeof given);
    begun = ws_count();
    for (n = 0; n < count; ++n) {
        net_predict_int8(arena.bytes, given, found);
    }
    ticks = ws_count() - begun;
    ws_write(&ticks, sizeof ticks);
#else
    (void)count;
    ws_exit(1);
#endif
}

/* a: the bytes of the arena up to the last that was written, and whether those around it are whole */
static void touched(void) {
    uint32_t found[2] = {NET_ARENA_BYTES, 1};
    size_t i;
    while (found[0] && arena.bytes[found[0] - 1] == PAINT) {
        --found[0];
    }
    for (i = 0; i < GUARD; ++i) {
        found[1] = found[1] && arena.before[i] == PAINT && arena.after[i] == PAINT;
    }
    ws_write(found, sizeof found);
}

#ifdef WS_STACK_END
static uint8_t *painted_from(const uint8_t *pointer) {
    const size_t room = (size_t)(pointer - WS_STACK_END);
    return WS_STACK_END + (room > DEEPEST ? room - DEEPEST : 0);
}

/* Painting and looking are part of the function that calls, so that they need no stack below it. */
#define MEASURE(bytes, call)                                                                          \
    do {                                                                                              \
        uint8_t *const pointer = ws_stack_pointer();                                                  \
        uint8_t *const low = painted_from(pointer);                                                   \
        volatile uint8_t *spot;                                                                       \
        for (spot = low; spot < pointer; ++spot) {                                                    \
            *spot = PAINT;                                                                            \
        }                                                                                             \
        call;                                                                                         \
        for (spot = low; spot < pointer && *spot == PAINT; ++spot) {                                  \
        }                                                                                             \
        (bytes) = (uint32_t)(pointer - spot);                                                         \
    } while (0)
#else
#define MEASURE(bytes, call)                                                                          \
    do {                                                                                              \
        call;                                                                                         \
        (bytes) = 0;                                                                                  \
    } while (0)
#endif

/* s: the deepest that the stack was under predict, of one sample */
static void stack_of_predict(void) {
    uint32_t bytes;
    get_sample(0);
    MEASURE(bytes, net_predict(arena.bytes, samples, answer));
    ws_write(&bytes, sizeof bytes);
}

#ifdef NET_BATCH
static int32_t labels[NET_BATCH];
static uint8_t slots[NET_SAVE_BYTES];

/* l, L: mean losses of so many steps, then ticks of all calls together */
static void learn(int as_bytes, uint32_t count) {
    uint64_t ticks = 0, begun;
    uint32_t n;
    float loss;
    for (n = 0; n < count; ++n) {
        read_samples(as_bytes, NET_BATCH);
        ws_read(labels, sizeof labels);
        begun = ws_count();
        loss = net_learn_step(arena.bytes, samples, labels);
        ticks += ws_count() - begun;
        ws_write(&loss, sizeof loss);
    }
    ws_write(&ticks, sizeof ticks);
}

/* k: the deepest that the stack was under a step */
static void stack_of_learn(void) {
    uint32_t bytes;
    float loss;
    read_samples(0, NET_BATCH);
    ws_read(labels, sizeof labels);
    MEASURE(bytes, loss = net_learn_step(arena.bytes, samples, labels));
    (void)loss;
    ws_write(&bytes, sizeof bytes);
}

/* i, I: so many samples, each with its label, are measured for the method's importance */
static void importance(int as_bytes, uint32_t count) {
#ifdef WS_IMPORTANCE
    uint64_t ticks = 0, begun;
    uint32_t n;
    for (n = 0; n < count; ++n) {
        read_samples(as_bytes, 1);
        ws_read(labels, sizeof(int32_t));
        begun = ws_count();
        WS_IMPORTANCE;
        ticks += ws_count() - begun;
    }
    ws_write(&ticks, sizeof ticks);
#else
    (void)as_bytes;
    (void)count;
    ws_exit(1);
#endif
}

/* v: the state is saved, forgotten and restored, and whether it was */
static void save_and_restore(void) {
    int32_t done;
    net_save(arena.bytes, slots);
    memset(arena.bytes, PAINT, sizeof arena.bytes);
    done = net_restore(arena.bytes, slots);
    ws_write(&done, sizeof done);
}

static void other(uint32_t what, uint32_t count) {
    int32_t done;
    switch (what) {
    case 'l':
    case 'L':
        learn(what == 'l', count);
        break;
    case 'i':
    case 'I':
        importance(what == 'i', count);
        break;
    case 'k':
        stack_of_learn();
        break;
    case 'e':
        done = net_end_task(arena.bytes);
        ws_write(&done, sizeof done);
        break;
    case 't':
        ws_write(net_theta(arena.bytes), NET_PARAMETERS * sizeof(float));
        break;
    case 'v':
        save_and_restore();
        break;
    default:
        ws_exit(1);
    }
}
#else
static void other(uint32_t what, uint32_t count) {
    (void)what;
    (void)count;
    ws_exit(1);
}
#endif

int main(void) {
    uint32_t command[2] = {0, 0};
    memset(&arena, PAINT, sizeof arena);
#ifdef NET_BATCH
    net_start(arena.bytes);
#endif
    while (command[0] != 'q') {
        ws_read(command, sizeof command);
        switch (command[0]) {
        case 'p':
        case 'P':
            predict(command[0] == 'p', command[1]);
            break;
        case 'c':
            count_predict(command[1]);
            break;
        case 'n':
            count_int8(command[1]);
            break;
        case 's':
            stack_of_predict();
            break;
        case 'a':
            touched();
            break;
        case 'q':
            break;
        default:
            other(command[0], command[1]);
        }
    }
    ws_exit(0);
    return 0;
}

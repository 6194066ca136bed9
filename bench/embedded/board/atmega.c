/* An ATmega1284P: what it is given lies in flash, its answer goes out as hex digits on the UART, and
   two timers count cycles: one every cycle, modulo 2^16, the other every 1,024. */

#include "harness.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

/* in.bin, of any length, which no C object could have */
__asm__(".section .text.ws_given, \"ax\", @progbits\n"
        ".balign 2\n"
        ".globl ws_given\n"
        "ws_given:\n"
        "    .incbin \"in.bin\"\n"
        "    .balign 2\n"
        ".text\n");
extern const uint8_t ws_given;

static void begin(void) {
    static uint8_t begun;
    if (!begun) {
        begun = 1;
        UCSR0A = 1 << U2X0;
        UBRR0 = 0;
        UCSR0B = 1 << TXEN0;
        TCCR1B = 1 << CS10;
        TCCR3B = 1 << CS32 | 1 << CS30;
    }
}

void ws_read(void *to, size_t bytes) {
    static uint32_t at;
    uint8_t *const bytes_to = (uint8_t *)to;
    size_t i;
    begin();
    for (i = 0; i < bytes; ++i) {
        bytes_to[i] = pgm_read_byte_far(pgm_get_far_address(ws_given) + at++);
    }
}

static void put(char letter) {
    while (!(UCSR0A & 1 << UDRE0)) {
    }
    UDR0 = (uint8_t)letter;
}

void ws_write(const void *from, size_t bytes) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *const given = (const uint8_t *)from;
    size_t i;
    for (i = 0; i < bytes; ++i) {
        put(digits[given[i] >> 4]);
        put(digits[given[i] & 15]);
        if (i % 32 == 31) {
            put('\n');
        }
    }
    put('\n');
}

void ws_exit(int status) {
    put(status ? '?' : '!');
    put('\n');
    cli();
    sleep_enable();
    sleep_cpu(); /* with interrupts off this is the end, and the emulator stops */
}

/* The coarse timer says in which round of the fine one we are, since it is never 2^15 cycles off. */
uint64_t ws_count(void) {
    const uint16_t fine = TCNT1, coarse = TCNT3;
    const uint32_t near = (uint32_t)coarse << 10;
    const int16_t off = (int16_t)(fine - (uint16_t)near);
    return near + (uint32_t)(int32_t)off;
}

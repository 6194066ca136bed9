// Fibers: the stacks on which a block's threads wait for each other, and the switch between them.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vector>

namespace coh {

const size_t STACK_BYTES = 128 * 1024;
const size_t PAGE = 4096;
const size_t CACHE_LINE = 64;

struct Fiber {
    void* stack_pointer = nullptr;
    uintptr_t stack = 0;  // its lowest address
    // Lines between the stack's end and its first use: a processor keeps only a few lines from the
    // same place of different pages.
    size_t colour = 0;
};

// Save what a call must preserve, and the stack pointer to *from; go on where `to` was saved.
extern "C" __attribute__((visibility("hidden"))) void coh_switch(void** from, void* to);

#if defined(__x86_64__)
const int SAVED_WORDS = 7;  // six registers and the address to go on at
const int ENTRY_WORD = 6;
const size_t BELOW_TOP = 72;  // at a function's entry the stack is 8 bytes off a multiple of 16
asm(R"(
    .text
    .globl coh_switch
    .hidden coh_switch
    .type coh_switch, @function
coh_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size coh_switch, .-coh_switch
)");
#elif defined(__aarch64__)
const int SAVED_WORDS = 20;  // x19 to x30, d8 to d15
const int ENTRY_WORD = 11;    // x30, to which `ret` goes
const size_t BELOW_TOP = 64;  // the stack is always a multiple of 16
asm(R"(
    .text
    .globl coh_switch
    .hidden coh_switch
    .type coh_switch, %function
coh_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size coh_switch, .-coh_switch
)");
#else
#error "the host launcher switches stacks by hand, and knows how on x86-64 and aarch64 only"
#endif

// All stacks that were ever made, and those of them that run no thread now.
class Fibers {
public:
    Fiber main;  // the stack that the launch was called on

    explicit Fibers(void (*body)()) : body_(body) {}

    // A fiber that will start, or go on, in `body`.
    Fiber* take()
    {
        if (idle_.empty()) idle_.push_back(make());
        Fiber* fiber = idle_.back();
        idle_.pop_back();
        return fiber;
    }

    void give_back(Fiber* fiber) { idle_.push_back(fiber); }

    // After a launch was broken off: forget what the fibers were doing.
    void start_over()
    {
        idle_ = all_;
        for (Fiber* fiber : all_) rewind(fiber);
    }

private:
    Fiber* make()
    {
        void* memory = mmap(nullptr, PAGE + STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            perror("the host launcher has no room for another stack");
            abort();
        }
        mprotect(memory, PAGE, PROT_NONE);  // an overflow must not reach the neighbour's stack
        Fiber* fiber = new Fiber;
        fiber->stack = reinterpret_cast<uintptr_t>(memory) + PAGE;
        fiber->colour = all_.size() % (PAGE / CACHE_LINE);
        all_.push_back(fiber);
        rewind(fiber);
        return fiber;
    }

    // Lay out a stack as if `body` had been interrupted by coh_switch at its first instruction.
    void rewind(Fiber* fiber)
    {
        const size_t below = BELOW_TOP + fiber->colour * CACHE_LINE;
        void** top = reinterpret_cast<void**>(fiber->stack + STACK_BYTES - below);
        void** saved = top - SAVED_WORDS;
        memset(saved, 0, SAVED_WORDS * sizeof(void*));
        saved[ENTRY_WORD] = reinterpret_cast<void*>(body_);
        fiber->stack_pointer = saved;
    }

    void (*body_)();
    std::vector<Fiber*> all_, idle_;
};

}  // namespace coh

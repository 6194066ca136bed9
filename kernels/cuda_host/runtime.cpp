// Scheduler of cuda_on_host: one block at a time, its threads as fibers started lazily (a thread that
// never waits costs no switch), plus, with -DCOH_CHECK, a memory / race / initialisation checker fed by
// the __tsan_* calls which g++ -fsanitize=thread puts into the kernel (libtsan is not linked).
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <sys/mman.h>
#if defined(COH_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#define COH_UCTX 1
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define COH_ASAN 1
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/asan_interface.h>
#endif
#define API extern "C" __attribute__((visibility("default")))
#define HID extern "C" __attribute__((visibility("hidden")))
struct uint3 { unsigned x, y, z; };
struct coh_state { uint3 tid, bid, bdim, gdim; };

enum St : uint8_t { NEW, RUN, WBLOCK, WWARP, DONE };
struct Fiber {
#ifdef COH_UCTX
    ucontext_t ctx;
#else
    void* sp;
#endif
    char* stack; int tid; void* fake;
};
struct Warp { unsigned arrived, mask, alive; unsigned epoch; char buf[2][32][16]; uint8_t flip[32]; };
struct Report { char what[24]; char text[360]; unsigned long long pc; char file[160]; int line; };

static const size_t STACK = 128 * 1024;
struct RT {
    coh_state st;
    std::vector<Fiber*> pool, idle;
    std::vector<Fiber*> of;            // fiber of each started thread
    std::vector<St> state;
    std::vector<int> wline; std::vector<const char*> wfile;
    std::vector<Warp> warps;
    std::vector<int> pred; int red[3];
    int n, next, alive, arrived, cur; unsigned bepoch;
    std::vector<int> order;            // order[k] = k-th thread to be started
    Fiber main; Fiber* curf;
    void (*call)(void**); void** args; const char* kname;
    char* dyn; size_t dyn_size, dyn_cap;
    int abort, nrep; Report rep[64];
    uint64_t switches; int strict;
    uint64_t rng;
};
static RT* R;
extern "C" __attribute__((visibility("hidden"))) coh_state* coh_cur;
coh_state* coh_cur = nullptr;

static void report(const char* what, const char* file, int line, void* pc, const char* fmt, ...) {
    if (R->nrep >= 64) return;
    Report& r = R->rep[R->nrep++];
    memset(&r, 0, sizeof r);
    snprintf(r.what, sizeof r.what, "%s", what);
    va_list ap; va_start(ap, fmt); vsnprintf(r.text, sizeof r.text, fmt, ap); va_end(ap);
    if (file) snprintf(r.file, sizeof r.file, "%s", file);
    r.line = line; r.pc = (unsigned long long)pc;
}

// ---- context switch -------------------------------------------------------------------------
#ifndef COH_UCTX
extern "C" void coh_swap(void** from, void* to);
#if defined(__x86_64__)
asm(".text\n.globl coh_swap\n.hidden coh_swap\n.type coh_swap,@function\ncoh_swap:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size coh_swap,.-coh_swap\n");
#else
asm(".text\n.globl coh_swap\n.hidden coh_swap\n.type coh_swap,%function\ncoh_swap:\n"
    "sub sp,sp,#160\nstp x19,x20,[sp,#0]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
    "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp,#0]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n"
    "add sp,sp,#160\nret\n");
#endif
#endif
#ifdef COH_ASAN
static const void* coh_main_bottom; static size_t coh_main_size;
#endif
static void worker();
static void worker_entry() {
#ifdef COH_ASAN
    const void* b; size_t s; __sanitizer_finish_switch_fiber(nullptr, &b, &s);
    if (!coh_main_bottom) { coh_main_bottom = b; coh_main_size = s; }   // first switch of all comes from main
#endif
    worker();
}
static Fiber* new_fiber() {
    if (!R->idle.empty()) { Fiber* f = R->idle.back(); R->idle.pop_back(); return f; }
    Fiber* f = new Fiber(); R->pool.push_back(f);
    char* m = (char*)mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(m, 4096, PROT_NONE);                        // stack overflow faults
    f->stack = m + 4096;
    return f;
}
static void prepare(Fiber* f) {
#ifdef COH_ASAN
    __asan_unpoison_memory_region(f->stack, STACK);
#endif
#ifdef COH_UCTX
    getcontext(&f->ctx); f->ctx.uc_stack.ss_sp = f->stack; f->ctx.uc_stack.ss_size = STACK; f->ctx.uc_link = nullptr;
    makecontext(&f->ctx, (void (*)())worker_entry, 0);
#elif defined(__x86_64__)
    void** s = (void**)(f->stack + STACK - 64);          // 16-aligned; entry sees rsp % 16 == 8
    *--s = nullptr; *--s = (void*)worker_entry;
    for (int i = 0; i < 6; ++i) *--s = nullptr;
    f->sp = s;
#else
    void** s = (void**)(f->stack + STACK - 64 - 160);
    memset(s, 0, 160); s[11] = (void*)worker_entry; f->sp = s;
#endif
}
static void jump(Fiber* to) {
    Fiber* from = R->curf;
    if (to == from) return;
    R->curf = to; R->switches++;
#ifdef COH_ASAN
    void* fake; 
    if (to == &R->main) __sanitizer_start_switch_fiber(&fake, coh_main_bottom, coh_main_size);
    else __sanitizer_start_switch_fiber(&fake, to->stack, STACK);
#endif
#ifdef COH_UCTX
    swapcontext(&from->ctx, &to->ctx);
#else
    coh_swap(&from->sp, to->sp);
#endif
#ifdef COH_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

// ---- scheduling -------------------------------------------------------------------------------
static inline void enter(int t) {
    R->cur = t;
    unsigned bx = R->st.bdim.x, by = R->st.bdim.y, u = t;
    R->st.tid.x = u % bx; u /= bx; R->st.tid.y = u % by; R->st.tid.z = u / by;
}
static void resume(int t) { R->state[t] = RUN; enter(t); jump(R->of[t]); }
static int find_runnable(int me) {                        // same warp first
    int w0 = me & ~31, w1 = w0 + 32 < R->n ? w0 + 32 : R->n;
    for (int k = 1; k <= w1 - w0; ++k) { int t = w0 + (me - w0 + k) % (w1 - w0); if (t != me && R->state[t] == RUN) return t; }
    return -1;
}
static void dead_end() {
    int nb = 0, nw = 0, t0 = -1;
    for (int t = 0; t < R->n; ++t) { if (R->state[t] == WBLOCK) nb++, t0 = t; else if (R->state[t] == WWARP) nw++, t0 = t; }
    report("deadlock", t0 >= 0 ? R->wfile[t0] : nullptr, t0 >= 0 ? R->wline[t0] : 0, nullptr,
           "block (%u,%u,%u): %d thread(s) wait at __syncthreads, %d at a warp barrier, %d finished",
           R->st.bid.x, R->st.bid.y, R->st.bid.z, nb, nw, R->n - nb - nw);
    R->abort = 1; jump(&R->main); abort();
}
static void next_thread(int me) {                         // me waits (or is done): run somebody else
    int t = find_runnable(me);
    if (t >= 0) { resume(t); return; }
    if (R->next < R->n) { Fiber* f = new_fiber(); prepare(f); jump(f); return; }
    for (int k = 1; k < R->n; ++k) { t = me + k; if (t >= R->n) t -= R->n; if (R->state[t] == RUN) { resume(t); return; } }
    if (R->alive == 0) { jump(&R->main); return; }
    dead_end();
}
static void release_block() {
    for (int t = 0; t < R->n; ++t) if (R->state[t] == WBLOCK) R->state[t] = RUN;
    int a = 1, o = 0, c = 0;
    for (int t = 0; t < R->n; ++t) if (R->state[t] == RUN) { a &= R->pred[t]; o |= R->pred[t]; c += R->pred[t]; }
    R->red[0] = a; R->red[1] = o; R->red[2] = c;
    R->arrived = 0; R->bepoch++;
}
static void release_warp(int w) {
    Warp& W = R->warps[w];
    for (int l = 0; l < 32; ++l) if (W.arrived >> l & 1) { int t = w * 32 + l; if (R->state[t] == WWARP) R->state[t] = RUN; }
    W.arrived = 0; W.epoch++;
}
static void finish(int t) {
    R->state[t] = DONE; R->alive--;
    Warp& W = R->warps[t >> 5]; W.alive &= ~(1u << (t & 31));
    if (R->arrived) {
        if (R->strict) {
            int w = 0; while (R->state[w] != WBLOCK) w++;
            report("barrier-divergence", R->wfile[w], R->wline[w], nullptr, "block (%u,%u,%u): thread %d returned while thread %d waits at __syncthreads",
                   R->st.bid.x, R->st.bid.y, R->st.bid.z, t, w); R->abort = 1; jump(&R->main); }
        if (R->arrived == R->alive) release_block();
    }
    if (W.arrived && R->strict && (W.mask >> (t & 31) & 1)) { int o = (t & ~31) + __builtin_ctz(W.arrived);
        report("warp-mask", R->wfile[o], R->wline[o], nullptr, "thread %d returned although thread %d waits for it at a warp barrier", t, o); R->abort = 1; jump(&R->main); }
    if (W.arrived && W.arrived == (W.mask & W.alive)) release_warp(t >> 5);
}
static void worker() {
    for (;;) {
        while (R->next < R->n) {
            int t = R->order[R->next++];
            R->of[t] = R->curf; R->state[t] = RUN; enter(t);
            R->call(R->args);
            finish(R->cur);
        }
        Fiber* me = R->curf; R->idle.push_back(me);       // nothing left to start: this fiber can be reused
        next_thread(R->cur);
        return worker();                                  // not reached: an idle fiber is re-prepared
    }
}
HID void coh_syncthreads(const char* file, int line, int pred, int* out) {
    int t = R->cur;
    R->wfile[t] = file; R->wline[t] = line; R->pred[t] = pred;
    if (R->strict && R->arrived) {
        int o = 0; while (R->state[o] != WBLOCK) o++;
        if (R->wline[o] != line) { report("barrier-divergence", file, line, nullptr,
            "block (%u,%u,%u): thread %d waits at __syncthreads of line %d, thread %d at line %d", R->st.bid.x, R->st.bid.y, R->st.bid.z, t, line, o, R->wline[o]);
            R->abort = 1; jump(&R->main); }
    }
    if (++R->arrived == R->alive) release_block();
    else { R->state[t] = WBLOCK; next_thread(t); }
    if (out) memcpy(out, R->red, sizeof R->red);
}
HID void coh_syncwarp(unsigned mask, const char* file, int line) {
    int t = R->cur, w = t >> 5; Warp& W = R->warps[w];
    if (R->strict && W.arrived) { int o = w * 32 + __builtin_ctz(W.arrived);
        if (R->wline[o] != line) { report("warp-divergence", file, line, nullptr, "warp %d: thread %d at line %d, thread %d at line %d", w, t, line, o, R->wline[o]); R->abort = 1; jump(&R->main); } }
    R->wfile[t] = file; R->wline[t] = line;
    if (!(mask >> (t & 31) & 1)) { report("warp-mask", file, line, nullptr, "thread %d is not in its own mask %08x", t, mask); R->abort = 1; jump(&R->main); }
    if (W.arrived && W.mask != mask) { report("warp-mask", file, line, nullptr, "warp %d: thread %d has mask %08x, others %08x", w, t, mask, W.mask); R->abort = 1; jump(&R->main); }
    unsigned have = R->n - w * 32 >= 32 ? 0xffffffffu : (1u << (R->n - w * 32)) - 1;
    if (R->strict && (mask & have & ~W.alive)) { report("warp-mask", file, line, nullptr, "warp %d: mask %08x of thread %d names lanes that have returned (%08x)", w, mask, t, mask & have & ~W.alive); R->abort = 1; jump(&R->main); }
    W.mask = mask; W.arrived |= 1u << (t & 31);
    if (W.arrived == (mask & W.alive)) release_warp(w);
    else { R->state[t] = WWARP; next_thread(t); }
}
HID unsigned coh_shfl(unsigned mask, void* val, int size, int kind, int arg, int width, const char* file, int line) {
    int t = R->cur, l = t & 31; Warp& W = R->warps[t >> 5];
    int b = W.flip[l]; W.flip[l] ^= 1;                    // double buffer: one barrier per shuffle
    memcpy(W.buf[b][l], val, size);
    coh_syncwarp(mask, file, line);
    int base = l & ~(width - 1), s;
    if (kind == 0) s = base + (arg & (width - 1));
    else if (kind == 1) s = l - arg < base ? l : l - arg;
    else if (kind == 2) s = l + arg >= base + width ? l : l + arg;
    else s = (l ^ arg) >= base + width ? l : (l ^ arg);
    if (s != l && !((mask & W.alive) >> s & 1) && R->strict) {
        report("shfl-inactive", file, line, nullptr, "thread %d reads lane %d, which is not taking part", t, s); return 0; }
    memcpy(val, W.buf[b][s], size);
    return 0;
}
HID unsigned coh_ballot(unsigned mask, int pred, const char* file, int line) {
    int t = R->cur, l = t & 31; Warp& W = R->warps[t >> 5];
    int b = W.flip[l]; W.flip[l] ^= 1;
    W.buf[b][l][0] = (char)pred;
    coh_syncwarp(mask, file, line);
    unsigned r = 0; for (int i = 0; i < 32; ++i) if ((mask & W.alive) >> i & 1 && W.buf[b][i][0]) r |= 1u << i;
    return r;
}
HID void* coh_dynamic_shared() { return R->dyn; }
HID void coh_trap(const char* what, const char* file, int line) {
    report("trap", file, line, nullptr, "%s in block (%u,%u,%u) thread %d", what, R->st.bid.x, R->st.bid.y, R->st.bid.z, R->cur);
    R->abort = 1; jump(&R->main);
}

// ---- checker ----------------------------------------------------------------------------------
#ifdef COH_CHECK
// per byte: last write and last read (by thread of block, epochs). 0 thread = never.
struct Sh { uint32_t wblk, wthr, wep, wwep, rblk, rthr, rep, rwep; uint8_t watom, ratom, rmany, init; };
static const char* reg_name(int arg) { static char b[32]; if (arg == -1) return "dynamic shared memory"; if (arg == -2) return "static shared memory";
    snprintf(b, sizeof b, "argument %d", arg); return b; }
struct Region { char* p; size_t n; int kind; int ro; int arg; Sh* sh; uint32_t gen; };   // kind 0 global, 1 shared
static std::vector<Region>* regs;
extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
extern char __ehdr_start[] __attribute__((visibility("hidden")));
static void access(char* p, int n, bool wr, void* pc, bool atom) {
    if (!R || !R->call) return;
    RT& r = *R;
    if (p >= r.curf->stack && p < r.curf->stack + STACK) return;         // local variable
    if (p >= (char*)&r.st && p < (char*)(&r.st + 1)) return;             // threadIdx & co
    if (p >= (char*)&coh_cur && p < (char*)(&coh_cur + 1)) return;
    if (!wr && p >= __ehdr_start && p < __bss_start) return;             // constants
    Region* g = nullptr;
    for (auto& x : *regs) if (p >= x.p && p < x.p + x.n) { g = &x; break; }
    char where[96];
    snprintf(where, sizeof where, "block (%u,%u,%u) thread (%u,%u,%u)", r.st.bid.x, r.st.bid.y, r.st.bid.z, r.st.tid.x, r.st.tid.y, r.st.tid.z);
    if (!g || p + n > g->p + g->n) {
        Region* best = nullptr; long bd = 1L << 40;
        for (auto& x : *regs) { long d = p < x.p ? x.p - p : p - (x.p + x.n) + 1; if (d < bd) bd = d, best = &x; }
        if (best && bd < (1 << 20)) report("out-of-bounds", nullptr, 0, pc, "%s: %s of %d bytes, %ld bytes %s %s (%zu bytes)", where, wr ? "write" : "read", n,
            p < best->p ? (long)(best->p - p) : (long)(p - (best->p + best->n)), p < best->p ? "before" : "past", reg_name(best->arg), best->n);
        else report("out-of-bounds", nullptr, 0, pc, "%s: %s of %d bytes at an address in no argument, shared or local memory", where, wr ? "write" : "read", n);
        r.abort = 1; jump(&r.main); return;
    }
    if (wr && g->ro) { report("write-to-const", nullptr, 0, pc, "%s writes argument %d", where, g->arg); }
    if ((uintptr_t)p % (n > 16 ? 16 : n)) report("misaligned", nullptr, 0, pc, "%s: %d-byte access", where, n);
    uint32_t blk = (r.st.bid.z * r.st.gdim.y + r.st.bid.y) * r.st.gdim.x + r.st.bid.x + 1, thr = r.cur + 1;
    uint32_t wep = r.warps[r.cur >> 5].epoch;
    const char* bad = nullptr; uint32_t ob = 0, ot = 0;
    for (int i = 0; i < n; ++i) {
        Sh& s = g->sh[p + i - g->p];
        auto ordered = [&](uint32_t b, uint32_t t, uint32_t e, uint32_t we) {   // true: no conflict possible
            if (!t) return true;
            if (g->kind == 0 && b != blk) return false;
            if (b != blk || t == thr || e != r.bepoch) return true;
            return ((t - 1) >> 5) == ((thr - 1) >> 5) && we != wep; };
        if (!ordered(s.wblk, s.wthr, s.wep, s.wwep) && !(s.watom && atom)) { bad = wr ? "write after write" : "read after write"; ob = s.wblk; ot = s.wthr; }
        if (wr && !(s.ratom && atom)) {
            bool o = ordered(s.rblk, s.rthr, s.rep, s.rwep);
            if (o && s.rthr && ((s.rmany == 2 && g->kind == 0) || (s.rmany == 1 && s.rblk == blk && s.rep == r.bepoch))) o = false;
            if (!o) { bad = "write after read"; ob = s.rblk; ot = s.rthr; }
        }
        if (!wr && g->kind == 1 && !s.init) { bad = "uninit"; s.init = 1; }
        if (wr) { s.wblk = blk; s.wthr = thr; s.wep = r.bepoch; s.wwep = wep; s.watom = atom; s.init = 1; }
        if (!wr || atom) {
            if (s.rmany == 2 && g->kind == 0) {}
            else if (s.rthr && s.rthr != thr && s.rblk == blk && s.rep == r.bepoch)
                s.rmany = ((s.rthr - 1) >> 5) == ((thr - 1) >> 5) && (s.rmany == 0 || s.rmany == 3) ? 3 : 1;   // 3: several threads, one warp
            else if (s.rthr && s.rblk != blk && g->kind == 0) s.rmany = 2;                                     // several blocks
            else if (!(s.rthr == thr && s.rblk == blk && s.rep == r.bepoch)) s.rmany = 0;
            s.rblk = blk; s.rthr = thr; s.rep = r.bepoch; s.rwep = wep; s.ratom = atom;
        }
    }
    if (bad && r.nrep < 8) {
        if (bad[0] == 'u') report("uninitialised", nullptr, 0, pc, "%s reads shared memory at offset %ld which this block never wrote", where, (long)(p - g->p));
        else report("race", nullptr, 0, pc, "%s of %s at byte %ld: %s against block %u thread %u, no barrier between", bad, reg_name(g->arg), (long)(p - g->p), where, ob - 1, ot - 1);
    }
}
HID void coh_atomic(void* p, int size, void* pc) { access((char*)p, size, true, pc, true); }
#define PC __builtin_return_address(0)
#define RW(n) HID void __tsan_read##n(void* p) { access((char*)p, n, false, PC, false); } \
              HID void __tsan_write##n(void* p) { access((char*)p, n, true, PC, false); } \
              HID void __tsan_unaligned_read##n(void* p) { access((char*)p, n, false, PC, false); } \
              HID void __tsan_unaligned_write##n(void* p) { access((char*)p, n, true, PC, false); } \
              HID void __tsan_volatile_read##n(void* p) { access((char*)p, n, false, PC, false); } \
              HID void __tsan_volatile_write##n(void* p) { access((char*)p, n, true, PC, false); }
RW(1) RW(2) RW(4) RW(8) RW(16)
HID void __tsan_read_range(void* p, unsigned long n) { access((char*)p, (int)n, false, PC, false); }
HID void __tsan_write_range(void* p, unsigned long n) { access((char*)p, (int)n, true, PC, false); }
HID void __tsan_func_entry(void*) {}
HID void __tsan_func_exit(void) {}
HID void __tsan_init(void) {}
struct SrcLoc { const char* f; unsigned line, col; };
HID void __ubsan_handle_out_of_bounds(SrcLoc* d, unsigned long idx) {       // -fsanitize=bounds
    report("array-bounds", d->f, d->line, nullptr, "index %ld outside a fixed-size array: block (%u,%u,%u) thread (%u,%u,%u)", (long)idx,
           R->st.bid.x, R->st.bid.y, R->st.bid.z, R->st.tid.x, R->st.tid.y, R->st.tid.z);
    R->abort = 1; jump(&R->main);
}
struct TypeMis { SrcLoc l; void* type; unsigned char log_align, kind; };
HID void __ubsan_handle_type_mismatch_v1(TypeMis* d, unsigned long ptr) {   // -fsanitize=alignment
    if (!R || !R->call) return;
    report("misaligned", d->l.f, d->l.line, nullptr, "pointer %#lx is not %d-byte aligned: block (%u,%u,%u) thread (%u,%u,%u)", ptr, 1 << d->log_align,
           R->st.bid.x, R->st.bid.y, R->st.bid.z, R->st.tid.x, R->st.tid.y, R->st.tid.z);
    R->abort = 1; jump(&R->main);
}
static void check_launch(int nbuf, void** bp, size_t* bn, int* bro, int* barg) {
    regs = new std::vector<Region>();
    for (int i = 0; i < nbuf; ++i) regs->push_back({(char*)bp[i], bn[i], 0, bro[i], barg[i], (Sh*)calloc(bn[i] + 1, sizeof(Sh)), 0});
    if (R->dyn_size) regs->push_back({R->dyn, R->dyn_size, 1, 0, -1, (Sh*)calloc(R->dyn_size, sizeof(Sh)), 0});
    size_t nb = _end - __bss_start;
    regs->push_back({__bss_start, nb, 1, 0, -2, (Sh*)calloc(nb, sizeof(Sh)), 0});
}
static void check_block() { for (auto& g : *regs) if (g.kind == 1) memset((void*)g.sh, 0, g.n * sizeof(Sh)); }
static void check_end() { for (auto& g : *regs) free(g.sh); delete regs; regs = nullptr; }
#else
HID void coh_atomic(void*, int, void*) {}
static void check_launch(int, void**, size_t*, int*, int*) {}
static void check_block() {}
static void check_end() {}
#endif

// order: 0 forward, 1 reverse, >=2 random with this seed (warps shuffled, lanes shuffled inside)
static int launch(void (*call)(void**), void** args, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   size_t shmem, int order, int strict, int nbuf, void** bp, size_t* bn, int* bro, int* barg, uint64_t* switches) {
    if (!R) { R = new RT(); R->dyn = nullptr; R->dyn_cap = 0; }
    RT& r = *R; coh_cur = &r.st;
    r.st.gdim = {gx, gy, gz}; r.st.bdim = {bx, by, bz};
    r.n = bx * by * bz; int nw = (r.n + 31) / 32;
    r.of.assign(r.n, nullptr); r.state.assign(r.n, NEW); r.wline.assign(r.n, 0); r.wfile.assign(r.n, nullptr); r.pred.assign(r.n, 0);
    r.warps.resize(nw); r.order.resize(r.n);
    free(r.dyn); r.dyn = nullptr; r.dyn_size = shmem;
    if (shmem && posix_memalign((void**)&r.dyn, 256, shmem)) return -1;   // exact size: ASan sees the end
    r.abort = 0; r.nrep = 0; r.switches = 0; r.strict = strict; r.curf = &r.main; r.main.stack = nullptr; r.bepoch = 1; r.rng = order * 0x9E3779B97F4A7C15ull + 1;
    for (int i = 0; i < r.n; ++i) r.order[i] = order == 1 ? r.n - 1 - i : i;
    auto rnd = [&](uint64_t m) { r.rng ^= r.rng << 13; r.rng ^= r.rng >> 7; r.rng ^= r.rng << 17; return r.rng % m; };
    check_launch(nbuf, bp, bn, bro, barg);
    unsigned long nblk = (unsigned long)gx * gy * gz;
    std::vector<unsigned long> border;
    if (order >= 2) { border.resize(nblk); for (unsigned long i = 0; i < nblk; ++i) border[i] = i;
        for (unsigned long i = nblk - 1; i > 0; --i) { auto j = rnd(i + 1); auto t = border[i]; border[i] = border[j]; border[j] = t; } }
    r.call = call; r.args = args;
    for (unsigned long k = 0; k < nblk && !r.abort; ++k) {
        unsigned long b = order == 1 ? nblk - 1 - k : order >= 2 ? border[k] : k;
        r.st.bid = {(unsigned)(b % gx), (unsigned)(b / gx % gy), (unsigned)(b / gx / gy)};
        r.next = 0; r.alive = r.n; r.arrived = 0; r.bepoch++;
        for (auto& s : r.state) s = NEW;
        for (int w = 0; w < nw; ++w) { Warp& W = r.warps[w]; W.arrived = 0; W.epoch = 1; memset(W.flip, 0, 32);
            int c = r.n - w * 32; W.alive = c >= 32 ? 0xffffffffu : (1u << c) - 1; }
        if (order >= 2) for (int i = r.n - 1; i > 0; --i) { int j = rnd(i + 1); int t = r.order[i]; r.order[i] = r.order[j]; r.order[j] = t; }
        if (shmem) memset(r.dyn, 0xff, shmem);              // NaN, as a GPU's shared memory is not zeroed
        check_block();
        r.idle = r.pool;
        Fiber* f = new_fiber(); prepare(f);
        jump(f);                                            // comes back when every thread is done, or on abort
    }
    r.call = nullptr;
    check_end();
    if (switches) *switches = r.switches;
    return r.nrep;
}

struct Buffer { char* address; size_t bytes; int constant, element, argument, pad; };
struct Launch { void (*call)(void**); void** args; const Buffer* buffers; unsigned grid[3], block[3]; int order, count; long shared; };
API int coh_launch(const Launch* l) {
    void* bp[64]; size_t bn[64]; int ro[64], ba[64];
    for (int i = 0; i < l->count; ++i) { const Buffer& b = l->buffers[i]; bp[i] = b.address; bn[i] = b.bytes; ba[i] = b.argument; ro[i] = 1;
        for (int j = 0; j < l->count; ++j) if (l->buffers[j].address == b.address && !l->buffers[j].constant) ro[i] = 0; }
    return launch(l->call, l->args, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], l->shared, l->order, 1,
                  l->count, bp, bn, ro, ba, nullptr);
}
API const Report* coh_reports() { return R->rep; }

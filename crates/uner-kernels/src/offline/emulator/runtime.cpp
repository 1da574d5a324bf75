// The blocks of a launch, one at a time, with a fiber per thread.
//
// The kernel is compiled with `-fsanitize=thread`, whose hooks (`__tsan_*`, defined here, not those of libtsan) report every
// load and store. What is checked:
//
// - global memory: every access lies inside one buffer of the launch and is aligned, and writes lie in outputs; no two
//   blocks write the same byte, except as blocks.h says; every byte of an output is written, or none, and then reads as NaN;
// - shared memory: every access lies inside the launch's allocation, is aligned, reads only what was written, and no two
//   threads access a word without a barrier between them if one of them writes (machine.h);
// - `cp.async`: the target may not be touched until the thread has waited; the copy happens at the wait, as late as it may;
// - collectives of a warp (`mma`, `ldmatrix`, shuffles) and barriers: all threads arrive at the same one;
// - products of warp groups, mbarriers and bulk copies: see warpgroup.h;
// - what blocks do together: see blocks.h.
//
// Arguments: blocks in x, y and z, threads, bytes of shared memory, a number that picks the order of blocks and warps, and how
// many threads a block has in x.
// Input: the bytes of scalars and lengths and they, then for each buffer its bytes, whether its contents follow, and they, and
// of a tensor map how many numbers it has and they: dimensions, strides in bytes and box, the innermost first.
// Output: the contents of all buffers. Counts are 64 bits wide.
#include "blocks.h"
#include "machine.h"
#include "warpgroup.h"

namespace {

// All lanes of a warp leave their operands; what they compute of them they compute once the last has arrived.
Collective& gather(u32 kind, const u32* values, u32 count) {
    Fiber& self = *current;
    Collective& slot = slots[self.index / 32 * 2 + self.steps % 2];
    Collective& next = slots[self.index / 32 * 2 + (self.steps + 1) % 2];
    if (slot.arrived == 0) slot.kind = kind;
    if (slot.kind != kind) fail("lanes of a warp diverge");
    std::memcpy(slot.in[self.index % 32], values, count * 4);
    if (++slot.arrived == 32) next.arrived = 0;
    self.steps++;
    while (slot.arrived != 32) yield();
    return slot;
}

void enter() {
    body(argument);
    if (!current->copies.empty()) fail("a thread ends with copies under way");
    if (!current->read.empty()) fail("a thread ends with products under way");
    if (!current->writes.empty()) fail("a thread ends with copies under way");
    current->done = true;
    alive--;
    _longjmp(scheduler, 1);
}

void resume(Fiber& fiber) {
    current = &fiber;
    if (_setjmp(scheduler) == 0) {
        if (fiber.started) _longjmp(fiber.context, 1);
        fiber.started = true;
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fiber.stack;
        context.uc_stack.ss_size = STACK;
        context.uc_link = nullptr;
        makecontext(&context, enter, 0);
        setcontext(&context);
    }
    current = nullptr;
}

void run_block() {
    u32 threads = static_cast<u32>(fibers.size()), warps = threads / 32, idle = 0;
    for (Word& word : words) word = Word();
    std::memset(shared, 0xff, shared_bytes);
    for (Collective& slot : slots) slot.arrived = 0;
    const Clock nothing(threads + 1, 0);
    for (u32 i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.index = i, fiber.steps = 0, fiber.started = fiber.done = false;
        fiber.past = {nothing, nothing};
        fiber.acquired.clear(), fiber.before.clear();
        fiber.past.known[i] = 1;
    }
    gathered = {nothing, nothing};
    arrived = passed = 0, alive = threads;
    start_groups();
    for (u32 round = 0; alive > 0; ++round) {
        u32 before = alive + arrived + passed + moves, steps = 0, after = 0;
        u32 shift = (order * 2654435761u + round * (order + 1)) % warps;
        for (u32 w = 0; w < warps; ++w) {
            u32 warp = order & 1 ? (warps - 1 - w + shift) % warps : (w + shift) % warps;
            for (u32 lane = 0; lane < 32; ++lane) {
                Fiber& fiber = fibers[warp * 32 + lane];
                if (fiber.done) continue;
                steps += fiber.steps;
                resume(fiber);
                after += fiber.steps;
            }
        }
        idle = after != steps || before != alive + arrived + passed + moves ? 0 : idle + 1;
        // Copies land as late as they may: when nobody can go on without them.
        if (idle > 0 && land()) idle = 0;
        if (idle > 2) fail("threads wait for a collective or a barrier that the others do not reach");
    }
    finish_groups();
}

void read(void* target, size_t bytes) {
    if (std::fread(target, 1, bytes, stdin) != bytes) fail("the input ends early");
}
u64 read_count() {
    u64 count;
    read(&count, sizeof count);
    return count;
}

}  // namespace

extern "C" {
EmulatorIndex emulator_thread() { return {current->index % width, current->index / width, 0}; }
EmulatorIndex emulator_block() { return block; }
EmulatorIndex emulator_grid() { return grid; }
char* emulator_shared() { return shared; }

void emulator_barrier() {
    u32 entered = passed;
    join(gathered, current->past);
    if (++arrived == fibers.size()) arrived = 0, passed++, released = gathered;
    while (passed == entered) yield();
    join(current->past, released);
    tick();
}

void emulator_warp_barrier() {
    Past& past = warps_past[current->index / 32];
    join(past, current->past);
    tick();
    gather(6, &past.known[0], 0);
    join(current->past, past);
}

// Fragments of `mma.m16n8k16`: see "Matrix Fragments for mma.m16n8k16" of the PTX ISA.
void emulator_mma(float* d, const u32* a, const u32* b, const float* c) {
    u32 values[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    Collective& slot = gather(1, values, 6);
    u32 lane = current->index % 32;
    auto half = [&](u32 word, u32 i) {
        return static_cast<double>(emulator::from_bf16(static_cast<uint16_t>(word >> 16 * i)));
    };
    for (u32 i = 0; i < 4; ++i) {
        u32 row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        double sum = c[i];
        for (u32 k = 0; k < 16; ++k) {
            u32 owner = row % 8 * 4 + k % 8 / 2, holder = column * 4 + k % 8 / 2;
            sum += half(slot.in[owner][row / 8 + k / 8 * 2], k % 2) * half(slot.in[holder][4 + k / 8], k % 2);
        }
        d[i] = static_cast<float>(sum);
    }
}

void emulator_ldmatrix(u32* out, u32 address, int transposed) {
    check_shared(address, 16, false);
    Collective& slot = gather(transposed ? 3 : 2, &address, 1);
    u32 lane = current->index % 32;
    for (u32 m = 0; m < 4; ++m) {
        uint16_t pair[2];
        for (u32 i = 0; i < 2; ++i) {
            u32 row = transposed ? lane % 4 * 2 + i : lane / 4;
            u32 column = transposed ? lane / 4 : lane % 4 * 2 + i;
            std::memcpy(&pair[i], shared + slot.in[m * 8 + row][0] + column * 2, 2);
        }
        out[m] = pair[0] | static_cast<u32>(pair[1]) << 16;
    }
}

void emulator_stmatrix(u32 address, const u32* in, int transposed) {
    u32 values[6] = {address, in[0], in[1], in[2], in[3], 0};
    Collective& slot = gather(transposed ? 5 : 4, values, 6);
    u32 lane = current->index % 32, m = lane / 8, row = lane % 8;
    uint16_t elements[8];
    for (u32 column = 0; column < 8; ++column) {
        u32 owner = transposed ? column * 4 + row / 2 : row * 4 + column / 2;
        elements[column] = static_cast<uint16_t>(slot.in[owner][1 + m] >> 16 * ((transposed ? row : column) % 2));
    }
    check_shared(address, 16, true);
    std::memcpy(shared + address, elements, 16);
}

u32 emulator_shuffle_xor(u32 value, u32 mask) {
    return gather(16 + mask, &value, 1).in[current->index % 32 ^ mask][0];
}

u32 emulator_shuffle(u32 value, u32 lane) { return gather(64 + lane, &value, 1).in[lane][0]; }

void emulator_copy_async(u32 address, const void* source, u32 size, u32 bytes) {
    if (bytes > size) fail("cp.async of more than its size");
    if (reinterpret_cast<u64>(source) % size != 0) fail("misaligned source of cp.async");
    if (bytes) check_global(static_cast<const char*>(source), bytes, false);
    check_shared(address, size, true);
    for (u32 i = address / 4; i < (address + size) / 4; ++i) words[i].flying++;
    current->copies.push_back({address, size, bytes, static_cast<const char*>(source), false});
}

void emulator_commit() {
    for (Copy& copy : current->copies) copy.committed = true;
}

void emulator_wait() {
    std::vector<Copy> later;
    for (const Copy& copy : current->copies) {
        if (!copy.committed) {
            later.push_back(copy);
            continue;
        }
        for (u32 i = copy.address / 4; i < (copy.address + copy.size) / 4; ++i) words[i].flying--;
        check_shared(copy.address, copy.size, true);
        std::memset(shared + copy.address, 0, copy.size);
        std::memcpy(shared + copy.address, copy.source, copy.bytes);
    }
    current->copies.swap(later);
}

void emulator_load_shared(void* out, u32 address, u32 size) {
    check_shared(address, size, false);
    std::memcpy(out, shared + address, size);
}

void emulator_store_shared(u32 address, const void* value, u32 size) {
    check_shared(address, size, true);
    std::memcpy(shared + address, value, size);
}

void* emulator_buffer(int output) {
    if (next_buffer == buffers.size()) fail("the kernel has more buffers than the launch");
    Buffer& buffer = buffers[next_buffer++];
    if (!output && !buffer.known) fail("the kernel reads a buffer that nothing was written to");
    buffer.output = output;
    if (output) buffer.writer.resize(buffer.bytes);
    return buffer.data;
}

void emulator_info(void* target, u32 size) {
    if (size > info.size()) fail("the kernel has more scalars than the launch");
    std::memcpy(target, info.data(), size);
}

void emulator_run(void (*kernel)(void*), void* context) {
    body = kernel, argument = context;
    if (next_buffer != buffers.size()) fail("the launch has more buffers than the kernel");
    u32 blocks = grid.x * grid.y * grid.z;
    for (u32 i = 0; i < blocks; ++i) {
        number = order & 2 ? blocks - 1 - i : i;
        block = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
        run_block();
    }
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
#define EMULATOR_HOOK(n)                                           \
    void __tsan_read##n(void* p) { touch(p, n, false); }           \
    void __tsan_write##n(void* p) { touch(p, n, true); }           \
    void __tsan_unaligned_read##n(void* p) { touch(p, n, false); } \
    void __tsan_unaligned_write##n(void* p) { touch(p, n, true); }
EMULATOR_HOOK(1)
EMULATOR_HOOK(2)
EMULATOR_HOOK(4)
EMULATOR_HOOK(8)
EMULATOR_HOOK(16)
void __tsan_read_range(void* p, size_t n) {
    for (size_t i = 0; i < n; ++i) touch(static_cast<char*>(p) + i, 1, false);
}
void __tsan_write_range(void* p, size_t n) {
    for (size_t i = 0; i < n; ++i) touch(static_cast<char*>(p) + i, 1, true);
}
}

int main(int, char** arguments) {
    auto count = [&](int i) { return static_cast<u32>(std::strtoul(arguments[i], nullptr, 10)); };
    grid = {count(1), count(2), count(3)};
    shared_bytes = count(5), order = count(6), width = count(7);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    arena = static_cast<char*>(mmap(nullptr, ARENA, PROT_NONE, flags, -1, 0));
    shared = static_cast<char*>(mmap(nullptr, SHARED_MAX, PROT_READ | PROT_WRITE, flags, -1, 0));
    words.resize(shared_bytes / 4), fibers.resize(count(4)), slots.resize(count(4) / 32 * 2);
    for (Fiber& fiber : fibers) fiber.stack = static_cast<char*>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0));

    info.resize(read_count());
    read(info.data(), info.size());
    for (u64 left = read_count(); left > 0; --left) {
        Buffer buffer{arena + SPACING * buffers.size() + SPACING / 2, read_count(), read_count() != 0, false, false, {}};
        mprotect(buffer.data, buffer.bytes + 4096, PROT_READ | PROT_WRITE);
        if (buffer.known) read(buffer.data, buffer.bytes);
        else std::memset(buffer.data, 0xff, buffer.bytes);
        maps.emplace_back(read_count());
        for (u64& number : maps.back()) number = read_count();
        buffers.push_back(buffer);
    }
    emulator_kernel();
    for (const Buffer& buffer : buffers) {
        size_t missing = 0;
        for (u32 writer : buffer.writer) missing += writer == 0;
        bool partly = missing > 0 && missing < buffer.bytes && !buffer.known && !buffer.shares;
        if (partly) fail(std::to_string(missing) + " bytes of an output were not written");
        std::fwrite(buffer.data, 1, buffer.bytes, stdout);
    }
}

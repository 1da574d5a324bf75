// The state of a launch, and what is checked of an access. One part of runtime.cpp.
//
// Who comes before whom is kept in vector clocks: a thread's own count grows with each synchronisation, and what it has heard
// of the others' counts goes with it through barriers. An access races with an earlier one that the thread has not heard of.
#pragma once
#include "cuda.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

void emulator_kernel();

namespace {

using u32 = uint32_t;
using u64 = uint64_t;

constexpr u64 SPACING = 1ull << 35;     // from one buffer to the next: a wild 32-bit index stays between
constexpr u64 ARENA = 32 * SPACING;
constexpr u32 SHARED_MAX = 256 * 1024;
constexpr u32 NOBODY = ~0u;
constexpr size_t STACK = 256 * 1024;

struct Buffer {
    char* data;
    size_t bytes;
    bool known;   // has contents
    bool output;
    bool shares = false;      // blocks write to it together, in turns
    std::vector<u32> writer;  // per byte: block + 1
};
struct Copy {
    u32 address, size, bytes;
    const char* source;
    bool committed;
};
struct Collective {
    u32 arrived, kind;
    u32 in[32][6];
};
// What is known of each thread, and last of the hardware that copies on its own.
using Clock = std::vector<u32>;
void join(Clock& clock, const Clock& other) {
    for (size_t i = 0; i < clock.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}
// What has come before, and what of it before a fence between ordinary accesses and those of the tensor cores.
struct Past {
    Clock known, fenced;
};
void join(Past& past, const Past& other) { join(past.known, other.known), join(past.fenced, other.fenced); }

// A bulk copy from shared to global memory: reads its source by a wait at the latest, and writes by a later one.
struct Write {
    u32 address, bytes;
    char* target;
    bool adds, committed;
    std::vector<char> contents;
};
struct Product {  // of one thread
    u32 number, group;
    bool done;
    std::vector<float> values;
};
struct Fiber {
    jmp_buf context;
    u32 index, steps;  // steps: collectives passed, picks the slot
    bool started, done;
    std::vector<Copy> copies;
    char* stack;
    Past past;
    // Products of the warp group.
    u32 group_steps, next_product, groups;
    std::vector<Product> products;
    std::vector<std::pair<u32, u32>> read;  // words under way to the tensor cores, and the group that reads them
    std::vector<Write> writes;
    std::set<u32> acquired, before;  // blocks that this thread knows to have written, and those its bulk copies come behind
};
struct Word {
    u32 writer = NOBODY, written = 0;             // thread and its count at the last write
    bool ordinary = false;                        // not written by a bulk copy
    u32 valid = 0;                                // per byte: was written
    u32 flying = 0;                               // copies under way
    u32 multiplied = 0;                           // products and bulk copies under way that read it
    std::vector<std::pair<u32, u32>> readers;     // since the last write: thread and its count
};

char *arena, *shared;
std::vector<Buffer> buffers;
size_t next_buffer;
std::vector<char> info;
std::vector<Word> words;
std::vector<Fiber> fibers;
std::vector<Collective> slots;  // two per warp
EmulatorIndex block, grid;
u32 shared_bytes, order, width, number, arrived, passed, alive;
Past gathered, released;  // of the threads at the barrier of the block, and of those at the last one
Fiber* current;
jmp_buf scheduler;
void (*body)(void*);
void* argument;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s (block %u,%u,%u", what.c_str(), block.x, block.y, block.z);
    if (current) std::fprintf(stderr, " thread %u", current->index);
    std::fprintf(stderr, ")\n");
    std::exit(1);
}

void yield() {
    if (_setjmp(current->context) == 0) _longjmp(scheduler, 1);
}

u32 now() { return current->past.known[current->index]; }
// What the thread does from here on comes behind what it has told.
void tick() { current->past.known[current->index]++; }

[[noreturn]] void refuse(const char* what, u32 word) { fail(what + (" at byte " + std::to_string(word * 4))); }

// A write of the word by someone who knows `past`: `writer` from then on.
void check_write(u32 i, const Clock& past, u32 self) {
    Word& word = words[i];
    if (word.flying) refuse("shared memory touched while a copy is under way", i);
    if (word.multiplied) refuse("shared memory written while a product or a copy reads it", i);
    if (word.writer != NOBODY && word.writer != self && past[word.writer] < word.written) refuse("shared memory race", i);
    for (const auto& [reader, count] : word.readers)
        if (reader != self && past[reader] < count) refuse("shared memory written while others read", i);
}
void note_write(u32 i, u32 writer, u32 count, bool ordinary) {
    Word& word = words[i];
    word.writer = writer, word.written = count, word.ordinary = ordinary;
    word.readers.clear();
}
void note_read(u32 i) {
    auto& readers = words[i].readers;
    if (!readers.empty() && readers.back().first == current->index) readers.back().second = now();
    else readers.emplace_back(current->index, now());
}

void check_shared(u32 address, u32 size, bool write) {
    if (address % (size < 16 ? size : 16) != 0) refuse("misaligned shared address", address / 4);
    if (address + size > shared_bytes) refuse("shared memory out of bounds", address / 4);
    for (u32 i = address / 4; i <= (address + size - 1) / 4; ++i) {
        Word& word = words[i];
        u32 mask = 0;
        for (u32 byte = 0; byte < 4; ++byte) mask |= (i * 4 + byte >= address && i * 4 + byte < address + size) << byte;
        if (write) {
            check_write(i, current->past.known, current->index);
            note_write(i, current->index, now(), true);
            word.valid |= mask;
        } else {
            if (word.flying) refuse("shared memory touched while a copy is under way", i);
            if ((word.valid & mask) != mask) refuse("uninitialised shared memory read", i);
            if (word.writer != current->index && current->past.known[word.writer] < word.written) refuse("shared memory race", i);
            note_read(i);
        }
    }
}

// The buffer in which all bytes lie.
Buffer& buffer_of(const char* address, u32 size) {
    for (Buffer& buffer : buffers)
        if (address >= buffer.data && address + size <= buffer.data + buffer.bytes) return buffer;
    fail("global memory out of bounds");
}

void check_global(const char* address, u32 size, bool write) {
    Buffer& buffer = buffer_of(address, size);
    if (reinterpret_cast<u64>(address) % size != 0) fail("misaligned global address");
    if (write && !buffer.output) fail("write to an input");
    for (u32 i = 0; write && i < size; ++i) {
        u32& writer = buffer.writer[address - buffer.data + i];
        if (writer && writer != number + 1) fail("two blocks write one byte of an output");
        writer = number + 1;
    }
}

void touch(void* pointer, u32 size, bool write) {
    char* address = static_cast<char*>(pointer);
    if (!current) return;
    if (address >= shared && address < shared + SHARED_MAX)
        check_shared(static_cast<u32>(address - shared), size, write);
    else if (address >= arena && address < arena + ARENA)
        check_global(address, size, write);
}

}  // namespace

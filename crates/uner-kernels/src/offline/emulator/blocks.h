// What blocks of a launch do together: counters, and bulk copies from shared to global memory that add. One part of runtime.cpp.
//
// Blocks run one after the other, so a word for which a block waits was raised by a block before it, or never is. A copy that
// adds must know, through such words and a fence, of every block that wrote there before it; one that does not add comes first.
#pragma once
#include "machine.h"

namespace {

std::map<char*, std::set<u32>> raised;               // word: the blocks of which it tells
std::map<char*, std::pair<u32, std::set<u32>>> sums;  // bytes of a bulk copy, and the blocks that wrote there

u32& word_of(void* pointer) {
    char* address = static_cast<char*>(pointer);
    if (reinterpret_cast<u64>(address) % 4 != 0) fail("misaligned global address");
    Buffer& buffer = buffer_of(address, 4);
    if (!buffer.output || !buffer.known) fail("a counter that nothing was written to");
    return *reinterpret_cast<u32*>(address);
}

void check_source(u32 address, u32 bytes) {
    for (u32 i = address / 4; i < (address + bytes) / 4; ++i) {
        Word& word = words[i];
        if (word.flying) refuse("shared memory touched while a copy is under way", i);
        if (word.valid != 15) refuse("uninitialised shared memory read", i);
        const Clock& past = word.ordinary ? current->past.fenced : current->past.known;
        if (past[word.writer] < word.written) refuse("shared memory race, or no proxy fence", i);
        word.multiplied++;
    }
}

void check_order(char* target, u32 bytes, bool adds) {
    auto [at, fresh] = sums.try_emplace(target, bytes, std::set<u32>());
    auto& [size, blocks] = at->second;
    bool apart = (at == sums.begin() || std::prev(at)->first + std::prev(at)->second.first <= target) &&
                 (std::next(at) == sums.end() || target + bytes <= std::next(at)->first);
    if (size != bytes || !apart) fail("bulk copies overlap");
    if (adds == fresh) fail(adds ? "a copy adds to what nobody wrote" : "a copy overwrites a sum");
    for (u32 before : blocks)
        if (!current->before.count(before)) fail("a copy adds without knowing of another, or without a proxy fence");
    if (!blocks.insert(number).second) fail("a block adds twice to a sum");
}

}  // namespace

extern "C" {
u32 emulator_count_up(void* word) { return word_of(word)++; }

void emulator_await_word(void* word, u32 value, int acquires) {
    if (word_of(word) < value) fail("a block waits for one that comes later");
    const std::set<u32>& blocks = raised[static_cast<char*>(word)];
    if (acquires) current->acquired.insert(blocks.begin(), blocks.end());
}

void emulator_raise_word(void* word, u32 value) {
    if (!current->writes.empty()) fail("a turn ends while a copy is under way");
    u32& now = word_of(word);
    now = std::max(now, value);
    std::set<u32>& blocks = raised[static_cast<char*>(word)];
    blocks.insert(current->acquired.begin(), current->acquired.end());
    blocks.insert(number);
}

void emulator_global_proxy_fence() { current->before = current->acquired; }

void emulator_bulk_write(void* pointer, u32 source, u32 bytes, int adds) {
    char* target = static_cast<char*>(pointer);
    if (source % 16 || bytes % 16 || reinterpret_cast<u64>(target) % 16) fail("a misaligned bulk copy");
    if (source + bytes > shared_bytes) refuse("shared memory out of bounds", source / 4);
    Buffer& buffer = buffer_of(target, bytes);
    if (!buffer.output) fail("write to an input");
    buffer.shares = true;
    check_source(source, bytes);
    check_order(target, bytes, adds);
    current->writes.push_back({source, bytes, target, adds != 0, false, {}});
}

void emulator_bulk_commit() {
    for (Write& write : current->writes) write.committed = true;
}

void emulator_bulk_wait(int read_only) {
    std::vector<Write> later;
    for (Write& write : current->writes) {
        if (write.committed && write.contents.empty()) {
            write.contents.assign(shared + write.address, shared + write.address + write.bytes);
            for (u32 i = write.address / 4; i < (write.address + write.bytes) / 4; ++i) words[i].multiplied--, note_read(i);
        }
        if (!write.committed || read_only) {
            later.push_back(std::move(write));
            continue;
        }
        for (u32 i = 0; i < write.bytes; i += 4) {
            float sum, own;
            std::memcpy(&sum, write.target + i, 4), std::memcpy(&own, &write.contents[i], 4);
            sum = write.adds ? sum + own : own;
            std::memcpy(write.target + i, &sum, 4);
        }
    }
    current->writes.swap(later);
}
}

// What came with compute capability 9.0: products of warp groups on operands in shared memory, mbarriers, bulk copies of
// tiles, named barriers. One part of runtime.cpp.
//
// - A product leaves marks in its registers that only a wait for its group turns into numbers: whoever reads them earlier
//   gets NaN. What it reads must not be written until then, and what was written by ordinary stores or `cp.async` must have a
//   `fence.proxy.async` between.
// - Bulk copies land as late as they may, when no thread can go on without them (`land`).
// - Operands are rows of 128 bytes in the 128-byte swizzle, the only layout of descriptors and tensor maps that is known here.
#pragma once
#include "blocks.h"
#include "machine.h"

namespace {

struct Group {  // of 128 threads at a product
    u32 arrived;
    bool adds, a_down, b_down;
    u32 columns;
    u64 a_tile, b_tile;
    u32 a[128][4];
    float c[128][128], d[128][128];
};
struct NamedBarrier {
    u32 threads = 0, passed = 0;
    std::vector<u32> here;
    Past past, released;
};
struct Mbarrier {
    u32 count, pending, phase;
    u64 bytes;
    std::pair<u32, u32> made;  // thread and its count
    Past past, released;
};
struct Flight {
    u32 barrier;
    std::vector<Copy> copies;
    bool bulk;
};
struct TensorMap {  // what the emulator keeps in the opaque words
    const char* data;
    u64 dimensions[4], strides[3], box[4];
};

std::vector<Group> groups;  // two per warp group
std::map<u32, NamedBarrier> named;
std::map<u32, Mbarrier> mbarriers;
std::vector<Flight> flights;
std::vector<Past> warps_past;
std::vector<std::vector<u64>> maps;
std::vector<bool> fenced;  // per thread: registers may be handed to products
u32 moves, landed;

Past nothing_past() {
    Clock nothing(fibers.size() + 1, 0);
    return {nothing, nothing};
}

void start_groups() {
    groups.resize(fibers.size() / 128 * 2);
    for (Group& group : groups) group.arrived = 0;
    named.clear(), mbarriers.clear();
    warps_past.assign(fibers.size() / 32, nothing_past());
    fenced.assign(fibers.size(), false);
    moves = landed = 0;
    for (Fiber& fiber : fibers) {
        fiber.group_steps = fiber.next_product = fiber.groups = 0;
        fiber.products.clear(), fiber.read.clear();
    }
}

void finish_groups() {
    if (!flights.empty()) fail("the block ends with copies under way");
    for (const auto& [id, barrier] : named)
        if (!barrier.here.empty()) fail("the block ends while threads are at barrier " + std::to_string(id));
}

// --- mbarriers -----------------------------------------------------------------------------------------------------
Mbarrier& mbarrier(u32 address) {
    auto found = mbarriers.find(address);
    if (found == mbarriers.end()) refuse("no mbarrier", address / 4);
    Mbarrier& barrier = found->second;
    auto [maker, count] = barrier.made;
    if (current && maker != current->index && current->past.known[maker] < count) refuse("an mbarrier is used before it is made", address / 4);
    return barrier;
}

void advance(Mbarrier& barrier) {
    if (barrier.pending > 0 || barrier.bytes > 0) return;
    barrier.phase++, barrier.pending = barrier.count, barrier.released = barrier.past, moves++;
}

void arrive(u32 address) {
    Mbarrier& barrier = mbarrier(address);
    if (barrier.pending == 0) refuse("more arrive at an mbarrier than it was made for", address / 4);
    barrier.pending--;
    advance(barrier);
}

// The first copy that is under way becomes true. Whether there was one.
bool land() {
    if (flights.empty()) return finish_writes();
    size_t which = order & 1 ? flights.size() - 1 : 0;
    Flight flight = std::move(flights[which]);
    flights.erase(flights.begin() + static_cast<long>(which));
    const u32 hardware = static_cast<u32>(fibers.size());
    u64 bytes = 0;
    landed++;
    for (const Copy& copy : flight.copies) {
        std::memset(shared + copy.address, 0, copy.size);
        std::memcpy(shared + copy.address, copy.source, copy.bytes);
        bytes += copy.size;
        for (u32 i = copy.address / 4; i < (copy.address + copy.size) / 4; ++i) {
            words[i].flying--, words[i].valid = 15;
            note_write(i, hardware, landed, !flight.bulk);
        }
    }
    Mbarrier& barrier = mbarrier(flight.barrier);
    barrier.past.known[hardware] = landed;
    moves++;
    if (!flight.bulk) return arrive(flight.barrier), true;
    if (barrier.bytes < bytes) refuse("a copy brings more bytes than an mbarrier expects", flight.barrier / 4);
    barrier.bytes -= bytes;
    advance(barrier);
    return true;
}

// --- operands of products ----------------------------------------------------------------------------------------------
u32 swizzled(u32 address) { return address ^ (address >> 7 & 7) << 4; }

// Where the element of row (or column of B) `i` and depth `k` lies. `down`: rows, not depths, lie side by side.
u32 element(u64 tile, bool down, u32 i, u32 k) {
    u32 first = (tile & 0x3fff) << 4, leading = (tile >> 16 & 0x3fff) << 4, stride = (tile >> 32 & 0x3fff) << 4;
    u32 address = down ? first + i / 64 * leading + i % 64 * 2 + k / 8 * stride + k % 8 * 128
                       : first + i / 8 * stride + i % 8 * 128 + k * 2;
    return swizzled(address);
}

void check_descriptor(u64 tile) {
    if (tile >> 62 != 1 || (tile >> 49 & 7) != 0) fail("a descriptor is not of the 128-byte swizzle");
    if (((tile & 0x3fff) << 4 & 0x380) != 0) fail("an operand does not begin at a row whose number is a multiple of 8");
}

// This thread's part of the words of an operand with `extent` rows: what it must know of, and reads until it has waited.
void read_operand(u64 tile, bool down, u32 extent) {
    check_descriptor(tile);
    Fiber& self = *current;
    for (u32 pair = self.index % 128; pair < extent * 8; pair += 128) {
        u32 address = down ? element(tile, down, pair % (extent / 2) * 2, pair / (extent / 2)) : element(tile, down, pair / 8, pair % 8 * 2);
        u32 i = address / 4;
        if (address + 4 > shared_bytes) refuse("shared memory out of bounds", i);
        Word& word = words[i];
        if (word.flying) refuse("shared memory touched while a copy is under way", i);
        if (word.valid != 15) refuse("uninitialised shared memory read", i);
        const Clock& past = word.ordinary ? self.past.fenced : self.past.known;
        if (past[word.writer] < word.written) refuse(word.ordinary ? "shared memory race, or no proxy fence" : "shared memory race", i);
        word.multiplied++;
        self.read.emplace_back(i, self.groups);
    }
}

float shared_element(const Group& group, u64 tile, bool down, u32 i, u32 k) {
    uint16_t bits;
    std::memcpy(&bits, shared + element(tile, down, i, k), 2);
    return emulator::from_bf16(bits);
}

void multiply(Group& group) {
    static float a[64][16], b[128][16];
    for (u32 k = 0; k < 16; ++k) {
        for (u32 i = 0; i < group.columns; ++i) b[i][k] = shared_element(group, group.b_tile, group.b_down, i, k);
        for (u32 row = 0; row < 64; ++row) {
            u32 owner = row / 16 * 32 + row % 8 * 4 + k % 8 / 2, which = row % 16 / 8 + k / 8 * 2;
            uint16_t bits = static_cast<uint16_t>(group.a[owner][which] >> 16 * (k % 2));
            a[row][k] = group.a_tile ? shared_element(group, group.a_tile, group.a_down, row, k) : emulator::from_bf16(bits);
        }
    }
    for (u32 thread = 0; thread < 128; ++thread) {
        for (u32 i = 0; i < group.columns / 2; ++i) {
            u32 lane = thread % 32, row = thread / 32 * 16 + lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
            double sum = group.adds ? group.c[thread][i] : 0;
            for (u32 k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[column][k];
            group.d[thread][i] = static_cast<float>(sum);
        }
    }
}

// --- marks of results that are under way ---------------------------------------------------------------------------------
constexpr u32 MARK = 0x7fc00000 | 5 << 19;

// The number behind a mark, also while it is under way if `early`; nothing if the register holds no mark.
const float* marked(float value, bool early) {
    u32 bits = emulator::as<u32>(value);
    if ((bits & 0xfff80000) != MARK) return nullptr;
    for (auto product = current->products.rbegin(); product != current->products.rend(); ++product)
        if (product->number % 4096 == (bits >> 7 & 4095)) return early || product->done ? &product->values[bits & 127] : nullptr;
    return nullptr;
}

}  // namespace

extern "C" {
void emulator_named_barrier(u32 id, u32 threads, int waits) {
    NamedBarrier& barrier = named[id];
    if (barrier.here.empty() && barrier.past.known.empty()) barrier.past = nothing_past();
    if (id == 0 || threads % 32 != 0) fail("no such barrier");
    if (barrier.here.empty()) barrier.threads = threads;
    if (barrier.threads != threads) fail("threads disagree on a barrier");
    if (std::find(barrier.here.begin(), barrier.here.end(), current->index) != barrier.here.end()) fail("a thread arrives twice at a barrier");
    u32 entered = barrier.passed;
    barrier.here.push_back(current->index);
    join(barrier.past, current->past);
    tick(), moves++;
    if (barrier.here.size() == threads) barrier.here.clear(), barrier.passed++, barrier.released = barrier.past;
    if (!waits) return;
    while (barrier.passed == entered) yield();
    join(current->past, barrier.released);
}

void emulator_proxy_fence() { join(current->past.fenced, current->past.known), tick(); }

void emulator_mbarrier_init(u32 address, u32 count) {
    check_shared(address, 8, true);
    mbarriers[address] = {count, count, 0, 0, {current->index, now()}, nothing_past(), nothing_past()};
}

// `bytes` more are expected.
void emulator_mbarrier_arrive(u32 address, u32 bytes) {
    Mbarrier& barrier = mbarrier(address);
    join(barrier.past, current->past);
    tick(), moves++;
    barrier.bytes += bytes;
    arrive(address);
}

void emulator_mbarrier_arrive_behind_copies(u32 address) {
    Mbarrier& barrier = mbarrier(address);
    join(barrier.past, current->past);
    tick(), moves++;
    flights.push_back({address, std::move(current->copies), false});
    current->copies.clear();
}

void emulator_mbarrier_wait(u32 address, u32 parity) {
    if (parity > 1) fail("a parity is 0 or 1");
    while (mbarrier(address).phase % 2 == parity) yield();
    join(current->past, mbarrier(address).released);
    moves++;
}

void emulator_tensor_copy(u32 target, u64 address, const int32_t* at, u32 barrier) {
    const TensorMap& map = *reinterpret_cast<const TensorMap*>(address);
    if (target % 1024 != 0) refuse("a tile in the 128-byte swizzle begins at a multiple of 1024", target / 4);
    mbarrier(barrier);
    Flight flight{barrier, {}, true};
    u32 row = 0;
    for (u64 w = 0; w < map.box[3]; ++w)
        for (u64 z = 0; z < map.box[2]; ++z)
            for (u64 y = 0; y < map.box[1]; ++y, ++row) {
                u64 position[4] = {0, at[1] + y, at[2] + z, at[3] + w};
                bool inside = position[1] < map.dimensions[1] && position[2] < map.dimensions[2] && position[3] < map.dimensions[3];
                for (u32 chunk = 0; chunk < 8; ++chunk) {
                    u64 first = static_cast<u64>(at[0]) + chunk * 8;
                    bool there = inside && first + 8 <= map.dimensions[0];
                    const char* source = map.data;
                    if (there) source += first * 2 + position[1] * map.strides[0] + position[2] * map.strides[1] + position[3] * map.strides[2];
                    u32 to = swizzled(target + row * 128 + chunk * 16);
                    if (to + 16 > shared_bytes) refuse("shared memory out of bounds", to / 4);
                    for (u32 i = to / 4; i < to / 4 + 4; ++i) {
                        check_write(i, current->past.known, current->index);
                        words[i].flying++;
                    }
                    flight.copies.push_back({to, 16, there ? 16u : 0u, source, true});
                }
            }
    flights.push_back(std::move(flight));
    moves++;
}

void emulator_wgmma_fence() { fenced[current->index] = true; }

void emulator_wgmma(u32 columns, float** d, const u32* a, u64 a_tile, u64 b_tile, int adds, int a_down, int b_down) {
    Fiber& self = *current;
    if (!fenced[self.index]) fail("a product without wgmma.fence before it");
    u32 thread = self.index % 128;
    Group& group = groups[self.index / 128 * 2 + self.group_steps % 2];
    Group& next = groups[self.index / 128 * 2 + (self.group_steps + 1) % 2];
    if (group.arrived == 0) {
        group.adds = adds, group.a_down = a_down, group.b_down = b_down;
        group.columns = columns, group.a_tile = a_tile, group.b_tile = b_tile;
    }
    if (group.columns != columns || group.a_tile != a_tile || group.b_tile != b_tile || group.adds != (adds != 0)) fail("the warps of a group disagree on a product");
    if (a) std::memcpy(group.a[thread], a, 16);
    for (u32 i = 0; adds && i < columns / 2; ++i) {
        const float* early = marked(*d[i], true);
        group.c[thread][i] = early ? *early : *d[i];
    }
    read_operand(b_tile, b_down, columns);
    if (a_tile) read_operand(a_tile, a_down, 64);
    self.group_steps++, moves++;
    if (++group.arrived == 128) next.arrived = 0, multiply(group);
    while (group.arrived != 128) yield();
    u32 number = self.next_product++;
    self.products.push_back({number, self.groups, false, {group.d[thread], group.d[thread] + columns / 2}});
    for (u32 i = 0; i < columns / 2; ++i) *d[i] = emulator::as<float>(MARK | number % 4096 << 7 | i);
}

void emulator_wgmma_commit() { current->groups++, fenced[current->index] = false; }

void emulator_wgmma_wait(u32 left) {
    Fiber& self = *current;
    auto under_way = [&](u32 group) { return group + left >= self.groups; };
    auto read = std::partition(self.read.begin(), self.read.end(), [&](const auto& word) { return under_way(word.second); });
    for (auto word = read; word != self.read.end(); ++word) words[word->first].multiplied--, note_read(word->first);
    self.read.erase(read, self.read.end());
    for (Product& product : self.products) product.done |= !under_way(product.group);
    // Nobody asks for results as old as these.
    if (self.products.size() > 128) self.products.erase(self.products.begin(), self.products.end() - 64);
    moves++;
}

void emulator_move_register(float* target, const float* value) {
    const float* number = marked(*value, false);
    *target = number ? *number : *value;
}

void emulator_map(void* target) {
    // The buffer of the map comes next among the buffers.
    const std::vector<u64>& numbers = maps[next_buffer];
    if (numbers.size() != 11) fail("the kernel has a tensor map where the launch has none");
    TensorMap map{static_cast<const char*>(emulator_buffer(false)), {}, {}, {}};
    std::memcpy(map.dimensions, numbers.data(), 11 * sizeof(u64));
    static_assert(sizeof map <= 128, "a tensor map has 128 bytes");
    std::memcpy(target, &map, sizeof map);
}
}

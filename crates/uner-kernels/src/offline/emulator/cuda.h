// What CUDA C++ as CubeCL generates it needs to run on a CPU: one fiber per thread, one block at a time (runtime.cpp).
//
// Numbers follow the contract of the instructions, not the bits of a card: `mma` adds up in double and rounds once to f32,
// `ex2` is exact to f32.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

// --- the runtime --------------------------------------------------------------------------------------------------
extern "C" {
struct EmulatorIndex {
    uint32_t x, y, z;
};
EmulatorIndex emulator_thread();
EmulatorIndex emulator_block();
EmulatorIndex emulator_grid();
char* emulator_shared();
void emulator_barrier();
void emulator_mma(float* d, const uint32_t* a, const uint32_t* b, const float* c);
void emulator_ldmatrix(uint32_t* out, uint32_t address, int transposed);
void emulator_stmatrix(uint32_t address, const uint32_t* in, int transposed);
uint32_t emulator_shuffle_xor(uint32_t value, uint32_t mask);
uint32_t emulator_shuffle(uint32_t value, uint32_t lane);
void emulator_copy_async(uint32_t address, const void* source, uint32_t size, uint32_t bytes);
void emulator_commit();
void emulator_wait();
void emulator_load_shared(void* out, uint32_t address, uint32_t size);
void emulator_store_shared(uint32_t address, const void* value, uint32_t size);
// Of warp groups, mbarriers and bulk copies (warpgroup.h).
void emulator_warp_barrier();
void emulator_named_barrier(uint32_t id, uint32_t threads, int waits);
void emulator_proxy_fence();
void emulator_mbarrier_init(uint32_t address, uint32_t count);
void emulator_mbarrier_arrive(uint32_t address, uint32_t bytes);
void emulator_mbarrier_arrive_behind_copies(uint32_t address);
void emulator_mbarrier_wait(uint32_t address, uint32_t parity);
void emulator_bulk_write(void* target, uint32_t source, uint32_t bytes, int adds);
void emulator_bulk_commit();
void emulator_bulk_wait(int read_only);
void emulator_global_proxy_fence();
uint32_t emulator_count_up(void* word);
void emulator_await_word(void* word, uint32_t value, int acquires);
void emulator_raise_word(void* word, uint32_t value);
void emulator_tensor_copy(uint32_t target, uint64_t map, const int32_t* at, uint32_t barrier);
void emulator_wgmma_fence();
void emulator_wgmma(uint32_t columns, float** d, const uint32_t* a, uint64_t a_tile, uint64_t b_tile, int adds,
                    int a_down, int b_down);
void emulator_wgmma_commit();
void emulator_wgmma_wait(uint32_t left);
void emulator_move_register(float* target, const float* value);
// The next tensor map of the launch.
void emulator_map(void* map);
// The next buffer of the launch; the scalars and lengths.
void* emulator_buffer(int output);
void emulator_info(void* info, uint32_t size);
void emulator_run(void (*body)(void*), void* context);
}

namespace emulator {

// --- bf16 ---------------------------------------------------------------------------------------------------------
template <class To, class From>
inline To as(From from) {
    static_assert(sizeof(To) == sizeof(From), "the bits of one are those of the other");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
inline uint16_t to_bf16(float x) {
    uint32_t u = as<uint32_t>(x);
    return x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
inline float from_bf16(uint16_t u) { return as<float>(uint32_t(u) << 16); }

// --- instructions, their operands in the order of PTX ---------------------------------------------------------------
inline void cvta(uint32_t& window, const void* pointer) {
    window = static_cast<uint32_t>(static_cast<const char*>(pointer) - emulator_shared());
}
inline void mma(float& d0, float& d1, float& d2, float& d3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                uint32_t b0, uint32_t b1, float c0, float c1, float c2, float c3) {
    uint32_t a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
    float c[4] = {c0, c1, c2, c3}, d[4];
    emulator_mma(d, a, b, c);
    d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
}
inline void ldmatrix(bool transposed, uint32_t offset, uint32_t& r0, uint32_t& r1, uint32_t& r2, uint32_t& r3,
                     uint32_t address) {
    uint32_t r[4];
    emulator_ldmatrix(r, address + offset, transposed);
    r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3];
}
inline void copy_async(uint32_t size, uint32_t offset, uint32_t address, const void* source, uint32_t bytes) {
    emulator_copy_async(address + offset, source, size, bytes);
}
inline void commit() { emulator_commit(); }
inline void wait() { emulator_wait(); }
template <class T>
inline void load_pair(uint32_t offset, T& first, T& second, uint32_t address) {
    T pair[2];
    emulator_load_shared(pair, address + offset, 8);
    first = pair[0], second = pair[1];
}
inline void pack(uint32_t& packed, float high, float low) {
    packed = uint32_t(to_bf16(high)) << 16 | to_bf16(low);
}
inline void ex2(float& y, float x) {
    y = static_cast<float>(std::exp2(static_cast<double>(x)));
    if (std::fabs(y) < 1.17549435e-38f) y = 0;
}
inline void root(float& y, float x) { y = std::sqrt(x); }
inline void reciprocal(float& y, float x) { y = 1.0f / x; }
inline void shuffle_xor(uint32_t mask, float& other, float own) {
    other = as<float>(emulator_shuffle_xor(as<uint32_t>(own), mask));
}

inline void unit(uint32_t& x) { x = emulator_thread().x; }
inline void shuffle(uint32_t lane, uint32_t& other, uint32_t own) { other = emulator_shuffle(own, lane); }
inline void mbarrier_init(uint32_t count, uint32_t address) { emulator_mbarrier_init(address, count); }
inline void mbarrier_arrive(uint32_t bytes, uint32_t address) { emulator_mbarrier_arrive(address, bytes); }
inline void mbarrier_arrive_behind_copies(uint32_t address) { emulator_mbarrier_arrive_behind_copies(address); }
inline void mbarrier_wait(uint32_t address, uint32_t parity) { emulator_mbarrier_wait(address, parity); }
inline void named_barrier(uint32_t threads, bool waits, uint32_t id) { emulator_named_barrier(id, threads, waits); }
inline void warp_barrier() { emulator_warp_barrier(); }
inline void proxy_fence() { emulator_proxy_fence(); }
inline void store_pair(uint32_t offset, uint32_t address, uint32_t first, uint32_t second) {
    uint32_t pair[2] = {first, second};
    emulator_store_shared(address + offset, pair, 8);
}
inline void store_quad(uint32_t offset, uint32_t address, float first, float second, float third, float fourth) {
    float quad[4] = {first, second, third, fourth};
    emulator_store_shared(address + offset, quad, 16);
}
inline void bulk_write(bool adds, uint32_t bytes, void* target, uint32_t source) {
    emulator_bulk_write(target, source, bytes, adds);
}
inline void bulk_commit() { emulator_bulk_commit(); }
inline void bulk_wait(bool read_only) { emulator_bulk_wait(read_only); }
inline void global_proxy_fence() { emulator_global_proxy_fence(); }
inline void count_up(uint32_t& before, void* word) { before = emulator_count_up(word); }
inline void await_word(bool acquires, void* word, uint32_t value) { emulator_await_word(word, value, acquires); }
inline void raise_word(void* word, uint32_t value) { emulator_raise_word(word, value); }
inline void stmatrix(bool transposed, uint32_t offset, uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2,
                           uint32_t r3) {
    uint32_t r[4] = {r0, r1, r2, r3};
    emulator_stmatrix(address + offset, r, transposed);
}
inline void tensor_copy(uint32_t target, uint64_t map, int32_t x, int32_t y, int32_t z, int32_t w, uint32_t barrier) {
    int32_t at[4] = {x, y, z, w};
    emulator_tensor_copy(target, map, at, barrier);
}
// Moves of PTX also take what a product that was waited for left in a register.
inline void move_register(float& target, float value) { emulator_move_register(&target, &value); }
// A operand from registers, or from shared memory as B.
template <class... D>
inline void wgmma(bool a_down, bool b_down, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint64_t b,
                  bool adds, D&... d) {
    uint32_t a[4] = {a0, a1, a2, a3};
    float* registers[] = {&d...};
    emulator_wgmma(sizeof...(D) * 2, registers, a, 0, b, adds, a_down, b_down);
}
template <class... D>
inline void wgmma(bool a_down, bool b_down, uint64_t a, uint64_t b, bool adds, D&... d) {
    float* registers[] = {&d...};
    emulator_wgmma(sizeof...(D) * 2, registers, nullptr, a, b, adds, a_down, b_down);
}

// --- the launch -----------------------------------------------------------------------------------------------------
template <class T>
T argument() {
    if constexpr (std::is_pointer_v<T>) {
        return static_cast<T>(emulator_buffer(!std::is_const_v<std::remove_pointer_t<T>>));
    } else if constexpr (alignof(T) == 128) {  // nothing but a tensor map is aligned so
        T map;
        emulator_map(&map);
        return map;
    } else {
        T info;
        emulator_info(&info, sizeof info);
        return info;
    }
}
template <class... T>
void launch(void (*kernel)(T...)) {
    std::tuple<T...> arguments{argument<T>()...};
    auto body = [&] { std::apply(kernel, arguments); };
    emulator_run([](void* context) { (*static_cast<decltype(body)*>(context))(); }, &body);
}

}  // namespace emulator

#ifndef EMULATOR_RUNTIME
// --- the language ---------------------------------------------------------------------------------------------------
#define __global__
#define __device__
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__
#define threadIdx emulator_thread()
#define blockIdx emulator_block()
#define gridDim emulator_grid()
#define __syncthreads() emulator_barrier()
#define __activemask() 0xffffffffu
template <class T>
inline T __shfl_xor_sync(uint32_t, T value, uint32_t mask) {
    return emulator::as<T>(emulator_shuffle_xor(emulator::as<uint32_t>(value), mask));
}

struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) : bits(emulator::to_bf16(x)) {}
    operator float() const { return emulator::from_bf16(bits); }
};
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float log(float x) { return __builtin_logf(x); }
template <class T>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
inline T max(T a, T b) {
    return a < b ? b : a;
}
#endif

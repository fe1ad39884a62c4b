// A flow table that a process left behind, changed at will: taken over it holds what is whole, and works.
//
// Input: changes of its memory, each two bytes of place and one that is put there; the places are spread over
// the whole, for a table of a few buckets is larger than 64 KiB.
#include <cstdint>
#include <cstdlib>

#include "flow_bench.h"

using namespace viaduct;
using namespace viaduct::dataplane;

namespace {

constexpr std::uint32_t kEntries = 60;
constexpr std::uint32_t kFlows = 20;
constexpr std::uint64_t kSeed = 7;
constexpr std::uint32_t kNow = 1000;

template <typename Key>
Key key_of(std::uint32_t number) {
    return numbered_key<Key>(number, number % 2 == 0 ? 6 : 17);
}

/// Every way that a worker or a person's question goes through it.
template <typename Key>
void use(FlowTable<Key>& table) {
    std::uint32_t seen = 0;
    for (std::uint32_t bucket = 0; bucket < table.buckets();) {
        bucket = table.visit(bucket, table.buckets() - bucket, [&](const auto&) {
            ++seen;
            return true;
        });
    }
    if (seen > table.capacity() / 2) std::abort();
    for (std::uint32_t number = 0; number < 4 * kFlows; ++number) {
        const auto wanted = key_of<Key>(number);
        const auto pair = enter(table, wanted, kNow);
        if (pair.result != FlowTable<Key>::Inserted::yes) continue;
        FlowRecord<Key> record;
        if (table.find(wanted, table.hash(wanted), record) != pair.forward) std::abort();
        if (number % 3 == 0 && !table.remove(pair.forward, wanted)) std::abort();
    }
    const model::FlowTimeouts timeouts;
    table.expire(0, table.buckets(), kNow + 1, timeouts);
    table.expire(0, table.buckets(), kNow + 10'000'000, timeouts);
    if (table.entries() != 0) std::abort();
}

template <typename Key>
void take_over(const std::uint8_t* data, std::size_t size) {
    const auto bytes = FlowTable<Key>::bytes(kEntries);
    const TableMemory memory(bytes);
    {
        FlowTable<Key> before(memory.get(), kEntries, kSeed, nullptr);
        for (std::uint32_t number = 0; number < kFlows; ++number)
            enter(before, key_of<Key>(number), kNow);
    }
    for (; size >= 3; data += 3, size -= 3) {
        const auto place = (data[0] | std::size_t{data[1]} << 8) * bytes >> 16;
        memory.get()[place] = std::byte{data[2]};
    }
    FlowTable<Key> table(memory.get(), kEntries, kSeed, nullptr);
    const auto result = table.take_over(kNow);
    if (2 * result.kept != table.entries()) std::abort();
    use(table);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    if (data[0] % 2 == 0) {
        take_over<FlowKey4>(data + 1, size - 1);
    } else {
        take_over<FlowKey6>(data + 1, size - 1);
    }
    return 0;
}

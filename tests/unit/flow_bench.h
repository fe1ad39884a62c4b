// What the flow table's tests stand on: memory for a table, keys and pairs made from numbers, and an observer
// that remembers what left.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "flow/flow_table.h"

namespace viaduct::dataplane {

/// Zeroed, aligned to a cache line, as FlowMemory's is.
class TableMemory {
public:
    explicit TableMemory(std::size_t bytes)
        : bytes_(bytes), memory_(static_cast<std::byte*>(std::aligned_alloc(64, bytes)), std::free) {
        std::memset(memory_.get(), 0, bytes);
    }
    [[nodiscard]] std::byte* get() const { return memory_.get(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    std::size_t bytes_;
    std::unique_ptr<std::byte, decltype(&std::free)> memory_;
};

template <typename Key>
struct Gone : FlowObserver<Key> {
    void flow_removed(const FlowRecord<Key>& initiator, const FlowRecord<Key>& reply) override {
        const std::lock_guard held(mutex);
        pairs.push_back({initiator, reply});
    }
    std::mutex mutex;
    std::vector<std::pair<FlowRecord<Key>, FlowRecord<Key>>> pairs;
};

/// Distinct keys for distinct numbers below 2^32, of a protocol.
template <typename Key>
Key numbered_key(std::uint32_t number, std::uint8_t protocol = 17, Zone zone = 0) {
    Key key{};
    key.source.bytes[0] = 32;
    std::memcpy(&key.source.bytes[key.source.bytes.size() - 4], &number, 4);
    key.destination.bytes[0] = 192;
    key.destination.bytes[1] = static_cast<std::uint8_t>(number >> 24);
    key.source_port = Be16::from_host(static_cast<std::uint16_t>(1024 + number % 50000));
    key.destination_port = Be16::from_host(53);
    key.protocol = protocol;
    key.zone = zone;
    return key;
}

/// A direction without translation. The generation marks its content, so that torn reads show.
template <typename Key>
FlowRecord<Key> record_of(const Key& key, std::uint32_t mark = 1) {
    FlowRecord<Key> record{};
    record.key = key;
    record.new_source = key.source;
    record.new_destination = key.destination;
    record.new_source_port = key.source_port;
    record.new_destination_port = key.destination_port;
    record.generation = mark;
    record.port = static_cast<PortIndex>(mark);
    record.mtu = static_cast<std::uint16_t>(mark >> 16);
    return record;
}

template <typename Key>
typename FlowTable<Key>::Pair enter(FlowTable<Key>& table, const Key& key, std::uint32_t now = 0,
                                    std::uint32_t rule = 0) {
    return table.insert(record_of(key), record_of(key.reversed()), rule, now);
}

}  // namespace viaduct::dataplane

// Which backend a client of a service with session affinity had last, and until when it keeps it. Asked and
// changed for new flows only. Bounded: when there is no room, whoever would be forgotten first gives way.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "viaduct/address.h"

#include "flow/flow_table.h"

namespace viaduct::dataplane {

class Affinities {
public:
    struct Place {
        IpAddress address;
        std::uint16_t port = 0;
        friend bool operator==(const Place&, const Place&) = default;
    };

    /// `seed`: whoever does not know it cannot make clients fall together.
    explicit Affinities(std::uint64_t seed);

    // --- any worker; `service`: ServiceEntry::id, `now` in coarse seconds ---

    /// Nothing: the client has none, or its time is over.
    [[nodiscard]] std::optional<Place> find(std::uint32_t service, const IpAddress& client,
                                            std::uint32_t now) const;
    /// From now on for so many seconds.
    void keep(std::uint32_t service, const IpAddress& client, const Place& backend, std::uint32_t now,
              std::uint32_t seconds);

    [[nodiscard]] std::size_t size() const;

private:
    static constexpr std::size_t kShards = 64;
    static constexpr std::size_t kMostEach = 16384;

    struct Key {
        std::uint32_t service;
        IpAddress client;
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct Hash {
        std::array<std::uint64_t, 2> seeds;
        std::size_t operator()(const Key& key) const;
    };
    struct Kept {
        Place backend;
        std::uint32_t until;
    };
    struct alignas(64) Shard {
        mutable std::mutex mutex;
        std::unordered_map<Key, Kept, Hash> kept;
    };
    [[nodiscard]] std::size_t shard_of(const Key& key) const { return hash_(key) >> 40 & (kShards - 1); }
    static void make_room(Shard& shard, std::uint32_t now);

    Hash hash_;
    std::array<Shard, kShards> shards_;
};

}  // namespace viaduct::dataplane

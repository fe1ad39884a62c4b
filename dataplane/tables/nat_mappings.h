// Endpoint-independent mappings (RFC 4787 4.1): an inside address and port keeps one outside address and port
// for all destinations while any flow uses it. A bounded table of buckets; whoever looks something up or
// changes it locks the two buckets that it may be in, for some tens of nanoseconds.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "viaduct/address.h"

#include "flow/key.h"

namespace viaduct::dataplane {

class NatMappings {
public:
    static constexpr std::uint32_t kPlaces = 5;  ///< a bucket

    struct Inside {
        Zone zone = 0;
        std::uint8_t protocol = 0;
        IpAddress address;
        std::uint16_t port = 0;  ///< host order
        friend bool operator==(const Inside&, const Inside&) = default;
    };
    struct Outside {
        IpAddress address;
        std::uint16_t port = 0;
        friend bool operator==(const Outside&, const Outside&) = default;
    };

    /// Room for so many, in address space that is touched only where it is used. Throws std::runtime_error.
    explicit NatMappings(std::uint32_t most);
    ~NatMappings();
    NatMappings(const NatMappings&) = delete;
    NatMappings& operator=(const NatMappings&) = delete;

    // --- any worker ---

    /// The mapping that `rule` made, now held once more.
    std::optional<Outside> use(const Inside& inside, std::uint32_t rule);
    /// Enters a mapping, held once; or holds the one that another worker has entered meanwhile. Returns which
    /// one is in force. Nothing: no room.
    std::optional<Outside> enter(const Inside& inside, const Outside& outside, std::uint32_t rule);
    /// Who still holds a mapping that one flow has let go of.
    enum class Left : std::uint8_t { others, nobody, unknown };
    Left release(const Inside& inside, const Outside& outside);

    // --- any thread ---

    [[nodiscard]] std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }

private:
    struct Mapping {
        IpAddress inside;
        IpAddress outside;
        std::uint32_t holders;  ///< 0: the place is free
        std::uint32_t rule;
        std::uint16_t inside_port;
        std::uint16_t outside_port;
        Zone zone;
        std::uint8_t protocol;
    };
    struct alignas(64) Bucket;
    class Locked;

    std::uint32_t mask_;
    std::size_t bytes_;
    Bucket* buckets_ = nullptr;
    std::atomic<std::uint32_t> count_{0};
};

}  // namespace viaduct::dataplane

// How often the node speaks up without having been asked by a person: ICMP errors (RFC 1812 4.3.2.8, RFC 4443
// 2.4 f), questions for unknown neighbours, lines in the log. Token buckets, shared by all workers, without
// locks; whoever they refuse is only told less.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "viaduct/address.h"

#include "flow/record.h"
#include "port/port.h"

namespace viaduct::dataplane {

/// A bucket that fills by the coarse second. Any thread.
class TokenBucket {
public:
    struct Rate {
        std::uint32_t a_second;
        std::uint32_t burst;
    };
    /// Takes a token if there is one. A bucket that was never asked is full.
    bool take(Rate rate, std::uint32_t now);

private:
    /// The second of the last filling in the upper half, tokens spent since in the lower one: zero is a full
    /// bucket.
    std::atomic<std::uint64_t> state_{0};
};

class RateLimits {
public:
    /// Defaults are in Linux's range; a whole node's errors are 1,000 a second there.
    struct Rates {
        TokenBucket::Rate errors_an_interface{1000, 1000};
        TokenBucket::Rate errors_a_destination{10, 20};
        TokenBucket::Rate solicitations_a_port{200, 400};
        TokenBucket::Rate log_lines{1, 5};
    };

    /// `seed` makes it unpredictable which destinations share a bucket.
    explicit RateLimits(std::uint64_t seed) : RateLimits(seed, Rates{}) {}
    RateLimits(std::uint64_t seed, Rates rates);

    /// An ICMP error to `destination` because of a packet that came in by `interface`. Path MTU discovery
    /// depends on "too big": it is limited by interface alone.
    bool allow_error(InterfaceIndex interface, const IpAddress& destination, bool too_big, std::uint32_t now);
    /// A question for a neighbour that is not known yet, because of a packet from `port`: a port whose guest
    /// scans a network spends its own tokens.
    bool allow_solicitation(PortIndex port, std::uint32_t now);
    /// An announcement because somebody claims an own address: one in ten seconds (RFC 5227 2.4 c).
    bool allow_defence(InterfaceIndex interface, const IpAddress& address, std::uint32_t now);
    bool allow_log(std::uint32_t now) { return log_.take(rates_.log_lines, now); }

private:
    static constexpr std::size_t kInterfaceBuckets = 1024;
    static constexpr std::size_t kDestinationBuckets = 4096;
    static constexpr std::size_t kDefenceBuckets = 256;
    struct Buckets {
        std::array<TokenBucket, kInterfaceBuckets> interfaces;
        std::array<TokenBucket, kDestinationBuckets> destinations;
        std::array<TokenBucket, kPortsMost> ports;
        std::array<TokenBucket, kDefenceBuckets> defences;
    };

    [[nodiscard]] std::uint64_t hash(const IpAddress& address) const;

    const std::uint64_t seed_;
    const Rates rates_;
    std::unique_ptr<Buckets> buckets_;
    TokenBucket log_;
};

}  // namespace viaduct::dataplane

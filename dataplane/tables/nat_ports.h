// Which ports of which outside addresses translated flows hold. Shared by all workers; taking, sharing and
// releasing are a few atomic operations on bits, never a lock, and cost the same however full an address is.
//
// Theory of operation. Each outside address has a *space* of 65,536 ports a protocol (ICMP identifiers are
// ports, too): a bitmap of ports taken, a summary of the bitmap's words that are full, and a count of further
// holders for each port. A free port is found from a hashed start: a word, or through the summary the next
// word with room. When all are taken, ports are shared by flows to different destinations; whether two flows
// really differ is decided by the flow table (Inserted::clashes), so a share is a proposal.
//
//   holders of a port = its bit + its further holders
//
// holds whatever order workers come in; a port may look free for a moment while somebody holds it, which
// costs a clash at most.
//
// Spaces are made at first use in a region of memory reserved at start, and stay: their number is bounded,
// and a new address beyond that is as good as exhausted. Memory is touched only where ports are taken.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "viaduct/address.h"

#include "flow/flow_table.h"
#include "tables/nat_mappings.h"

namespace viaduct::dataplane {

/// Whether a protocol (IANA number) has ports or, as ICMP and ICMPv6 echo, something like them.
constexpr bool has_ports(std::uint8_t protocol) {
    return protocol == 6 || protocol == 17 || protocol == 132 || protocol == 1 || protocol == 58;
}

template <typename Address>
IpAddress ip_address(const Address& address) {
    return IpAddress::from_bytes(address.bytes).value_or(IpAddress{});
}

struct NatPortsOptions {
    std::uint32_t spaces = 8192;  ///< outside addresses times protocols; 72 KiB of address space each
    std::uint32_t mappings = 65536 * NatMappings::kPlaces;
};

class NatPorts final : public FlowObserver<FlowKey4>, public FlowObserver<FlowKey6> {
public:
    /// An outside address's ports of one protocol, from which to which, and where to begin.
    struct Request {
        Zone zone = 0;
        std::uint8_t protocol = 0;
        IpAddress outside;
        std::uint16_t low = 1024;  ///< host order, inclusive
        std::uint16_t high = 65535;
        std::uint16_t preferred = 0;  ///< the inside port: kept if it is in range and free
        std::uint64_t start = 0;      ///< random or a hash
    };
    /// Tries of a flow to share a port when all are taken.
    static constexpr unsigned kTriesMost = 32;

    /// Throws std::runtime_error when address space is short.
    explicit NatPorts(NatPortsOptions options = {});
    ~NatPorts() override;
    NatPorts(const NatPorts&) = delete;
    NatPorts& operator=(const NatPorts&) = delete;

    // --- any worker ---

    /// A port that nobody holds. Nothing: all are taken, or there are too many addresses.
    std::optional<std::uint16_t> take(const Request& request);
    /// A port that others may hold too; another one for each attempt (0 to kTriesMost - 1), the preferred one
    /// first. Nothing: this one has as many holders as can be counted.
    std::optional<std::uint16_t> share(const Request& request, unsigned attempt);
    /// Gives back what take or share gave. Of a port that nobody holds: nothing happens.
    void release(Zone zone, std::uint8_t protocol, const IpAddress& outside, std::uint16_t port);

    /// Mappings that are the same for all destinations; see nat_mappings.h.
    NatMappings& mappings() { return mappings_; }
    [[nodiscard]] const NatMappings& mappings() const { return mappings_; }
    /// Lets one flow's hold on a mapping go, and with the last one the mapping's port.
    void release_mapping(const NatMappings::Inside& inside, const NatMappings::Outside& outside);

    /// A packet found no port. `rule`: FlowTail::rule.
    void count_exhausted(std::uint32_t rule);

    /// Releases what a flow held.
    void flow_removed(const FlowRecord<FlowKey4>& initiator, const FlowRecord<FlowKey4>& reply) override;
    void flow_removed(const FlowRecord<FlowKey6>& initiator, const FlowRecord<FlowKey6>& reply) override;
    void flow_may_go(const FlowRecord<FlowKey4>& either) const override;
    void flow_may_go(const FlowRecord<FlowKey6>& either) const override;
    /// Whether a flow holds a port of a pool, by its initiator's record.
    template <typename Key>
    static bool holds_port(const FlowRecord<Key>& initiator) {
        return !initiator.has(kFlowStatic) && has_ports(initiator.key.protocol) &&
               (initiator.new_source != initiator.key.source ||
                initiator.new_source_port != initiator.key.source_port);
    }

    // --- before any worker runs ---

    /// Takes again what the flows of an earlier process hold. Returns how many hold something.
    template <typename Key>
    std::uint32_t rebuild(const FlowTable<Key>& flows);

    // --- any thread ---

    struct SpaceState {
        Zone zone;
        std::uint8_t protocol;
        IpAddress outside;
        std::uint32_t taken;   ///< ports held
        std::uint32_t shared;  ///< further holders of them
    };
    void visit(const std::function<void(const SpaceState&)>& visit) const;
    [[nodiscard]] std::uint64_t exhausted(std::uint32_t rule) const;
    /// Of all rules.
    [[nodiscard]] std::uint64_t exhausted() const { return exhausted_.load(std::memory_order_relaxed); }

private:
    static constexpr unsigned kWords = 65536 / 64;
    static constexpr std::uint32_t kRulesCounted = 1024;

    /// Zeroed memory is a space without ports taken.
    struct alignas(64) Space {
        std::array<std::uint64_t, 2> address;
        std::uint32_t meta;  ///< zone and protocol
        bool v4;
        std::array<std::atomic<std::uint64_t>, kWords / 64> full;
        std::array<std::atomic<std::uint64_t>, kWords> taken;
        std::array<std::atomic<std::uint8_t>, 65536> further;

        bool take(std::uint16_t port);
        std::optional<std::uint16_t> take_among(std::uint32_t from, std::uint32_t to);
        bool add_holder(std::uint16_t port);
        void release(std::uint16_t port);

    private:
        void note_full(std::uint32_t word);
        [[nodiscard]] std::uint32_t next_with_room(std::uint32_t word) const;
    };
    struct RuleCount {
        std::atomic<std::uint32_t> rule;
        std::atomic<std::uint64_t> count;
    };

    [[nodiscard]] Space* find(Zone zone, std::uint8_t protocol, const IpAddress& address) const;
    Space* find_or_make(Zone zone, std::uint8_t protocol, const IpAddress& address);
    std::uint32_t claim_space();
    [[nodiscard]] RuleCount* count_of(std::uint32_t rule, bool make) const;
    template <typename Key>
    void fetch(const FlowRecord<Key>& either) const;
    template <typename Key>
    void released(const FlowRecord<Key>& initiator, const FlowRecord<Key>& reply);

    std::uint32_t spaces_most_;
    std::size_t bytes_;
    Space* spaces_ = nullptr;
    std::atomic<std::uint32_t> spaces_made_{0};
    std::atomic<std::uint32_t> spare_{0};  ///< number of a space that somebody made in vain, plus one
    std::uint32_t directory_mask_;
    std::unique_ptr<std::atomic<std::uint32_t>[]> directory_;  ///< number of a space plus one; 0: none
    NatMappings mappings_;
    std::unique_ptr<RuleCount[]> rule_counts_;
    std::atomic<std::uint64_t> exhausted_{0};
};

}  // namespace viaduct::dataplane

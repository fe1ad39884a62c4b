// Which packets have which addresses changed: the configuration's masquerades, port forwards and one-to-one
// rules as immutable look-up structures. Every look-up costs the same however many rules there are, except
// that a masquerade costs one more for each different prefix length.
//
// A rule's id is a hash of its kind, its name and what it translates to, the same after a restart. Flows
// keep it (FlowTail::rule): a flow keeps its translation over a change of the configuration while a rule
// with that id exists and still means it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "viaduct/model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

struct Tables;

/// Made by the main thread with each topology, read by any worker.
class NatRules {
public:
    enum class Kind : std::uint8_t { masquerade, port_forward, static_nat };

    /// A rule for people: what `rule` in a flow means.
    struct Rule {
        std::uint32_t id;  ///< never 0
        Kind kind;
        Zone zone;
        std::string name;
    };

    /// What a destination becomes.
    struct Destination {
        IpAddress address;
        std::uint16_t port;  ///< host order; as it was for protocols without ports and one-to-one rules
        std::uint32_t rule;
    };

    /// What an inside address with a one-to-one rule becomes.
    struct Source {
        IpAddress address;
        std::uint32_t rule;
    };

    /// Addresses of a pool that follow one another.
    struct PoolRange {
        IpAddress first;
        IpAddress last;
        std::uint64_t size;
    };

    struct Masquerade {
        std::uint32_t id;
        Zone zone;
        bool any_interface;
        InterfaceIndex interface;  ///< unless any
        Prefix source;
        std::vector<Prefix> except;
        std::vector<PoolRange> pool;  ///< empty: the interface's own address
        std::uint64_t pool_size;      ///< addresses, at most 2^64-1; 0: the interface's own
        std::uint16_t port_low;
        std::uint16_t port_high;
        std::uint16_t block;
        bool endpoint_independent;

        /// Whether packets between these two are meant: the exceptions name destinations.
        [[nodiscard]] bool covers(const IpAddress& inside, const IpAddress& destination) const;
        [[nodiscard]] bool excepts(const IpAddress& destination) const;
    };

    /// An outside address and the ports of it that an inside address may use.
    struct Outside {
        IpAddress address;
        std::uint16_t low;
        std::uint16_t high;
    };
    /// Outside addresses that one inside address tries before ports are shared.
    static constexpr unsigned kOutsidesMost = 8;

    /// Reads the rules of `config`; zones and interface indices are those of `tables`. A rule of a VRF or an
    /// interface that is not there matches nothing.
    NatRules(const model::Config& config, const Tables& tables);

    /// Port forwards, then one-to-one rules. Port in host order. Nothing: the destination stays.
    [[nodiscard]] std::optional<Destination> destination(Zone zone, std::uint8_t protocol,
                                                         const IpAddress& address, std::uint16_t port) const;
    /// The one-to-one rule of an inside address.
    [[nodiscard]] std::optional<Source> source(Zone zone, const IpAddress& inside) const;
    /// The masquerade with the longest source prefix among those of the interface by which a packet leaves;
    /// null when there is none or its exceptions leave the destination alone.
    [[nodiscard]] const Masquerade* masquerade(Zone zone, const IpAddress& source,
                                               const IpAddress& destination, InterfaceIndex egress) const;
    [[nodiscard]] const Masquerade* masquerade(std::uint32_t id) const;
    /// The nth choice (from 0) of an inside address: always the same ones in the same order, so that a host
    /// is one outside address to the world (RFC 4787 REQ-2). Nothing: no more choices, or no block is left
    /// for the host (RFC 7422), or the interface has no address of the family.
    [[nodiscard]] std::optional<Outside> outside(const Masquerade& rule, InterfaceIndex egress,
                                                 const IpAddress& inside, unsigned nth) const;
    /// Whether the rule still translates to that address.
    [[nodiscard]] bool translates_to(const Masquerade& rule, const IpAddress& outside) const;
    /// Whether a source or a destination is an inside or outside address of any rule that may change it.
    [[nodiscard]] bool translates(Zone zone, const IpAddress& source, const IpAddress& destination) const;
    /// First address of a family; what hairpin and masquerades without a pool use.
    [[nodiscard]] const std::optional<IpAddress>& own_address(InterfaceIndex interface, bool v4) const;

    [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
    [[nodiscard]] bool empty() const { return rules_.empty(); }

private:
    struct Place {
        IpAddress address;
        Zone zone = 0;
        std::uint8_t protocol = 0;
        friend bool operator==(const Place&, const Place&) = default;
    };
    struct PlaceHash {
        std::size_t operator()(const Place& place) const;
    };
    struct Forward {
        std::uint16_t first;
        std::uint16_t last;
        IpAddress to;
        std::uint16_t to_port;
        std::uint32_t rule;
    };
    /// Masquerades whose source prefix has one length.
    struct Level {
        std::uint8_t length;
        std::unordered_map<Place, std::vector<std::uint32_t>, PlaceHash> by_network;
    };
    struct OwnAddresses {
        Zone zone = 0;
        std::optional<IpAddress> first4;
        std::optional<IpAddress> first6;
        std::vector<IpAddress> all;
    };

    void add(const model::Masquerade& rule, Zone zone, const Tables& tables);
    void add(const model::PortForward& rule, Zone zone);
    void add(const model::StaticNat& rule, Zone zone);

    std::vector<Rule> rules_;
    std::unordered_map<Place, std::vector<Forward>, PlaceHash> forwards_;  ///< sorted by first port
    std::unordered_map<Place, Source, PlaceHash> by_outside_;              ///< `address`: the inside one
    std::unordered_map<Place, Source, PlaceHash> by_inside_;
    std::vector<Masquerade> masquerades_;
    std::unordered_map<std::uint32_t, std::uint32_t> masquerade_by_id_;
    std::array<std::vector<Level>, 2> levels_;  ///< IPv6, IPv4; the longest first
    std::vector<OwnAddresses> own_;             ///< by interface
};

std::string_view to_string(NatRules::Kind kind);  ///< "masquerade", "port-forward", "static"

}  // namespace viaduct::dataplane

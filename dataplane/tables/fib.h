// Where a destination's packets go: a VRF's routes as a binary trie with compressed paths, one for each
// family under one name.
//
// The trie is persistent: a change copies the nodes from the root to where it happens, some dozens at most,
// and shares all others with the Fib before it, which goes on as it was. So readers need no lock, a
// transaction's tables come to be beside those in force, and a change of a million routes' table costs
// microseconds. Nodes and route entries count who holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include "viaduct/address.h"

#include "flow/record.h"

namespace viaduct::dataplane {

/// What is to be done with packets that a route matches.
enum class RouteAction : std::uint8_t {
    local,  ///< an address of the node itself, or of a network as such (broadcast)
    unicast,
    blackhole,
    unreachable,
    prohibit,
};
std::string_view to_string(RouteAction action);

enum class RouteOrigin : std::uint8_t { local, connected, configured };
std::string_view to_string(RouteOrigin origin);

struct RouteHop {
    std::optional<IpAddress> via;  ///< absent: the destination is a neighbour itself
    InterfaceIndex interface = 0;
    std::uint16_t weight = 1;
    friend bool operator==(const RouteHop&, const RouteHop&) = default;
};

/// What routes lead to; many routes share one. Immutable once made.
struct RouteEntry : boost::intrusive_ref_counter<RouteEntry> {
    RouteAction action = RouteAction::unicast;
    RouteOrigin origin = RouteOrigin::configured;
    bool broadcast = false;      ///< local: a network's broadcast address, which nobody has
    std::uint32_t mtu = 0;       ///< 0: the interface's
    std::vector<RouteHop> hops;  ///< local: the interface that has the address, without `via`
    std::uint32_t weights = 0;   ///< sum over hops

    RouteEntry(RouteAction does, RouteOrigin from, std::vector<RouteHop> to, std::uint32_t route_mtu = 0);
    [[nodiscard]] bool same_as(const RouteEntry& other) const;
    /// The hop for a flow, by its hash: by weight, always the same for a flow. There is at least one.
    [[nodiscard]] const RouteHop& hop_for(std::uint64_t flow_hash) const;
};
using RouteEntryPtr = boost::intrusive_ptr<const RouteEntry>;

/// A route found: what it leads to and how long its prefix is.
struct RouteMatch {
    const RouteEntry* entry = nullptr;  ///< null: no route; lives as long as the Fib
    std::uint8_t length = 0;
    explicit operator bool() const { return entry != nullptr; }
};

struct FibRoute {
    Prefix prefix;  ///< without host bits
    RouteEntryPtr entry;
};

/// A trie's node. Bits are left-aligned in Key; those after `length` are zero. Either it has an entry, or two
/// children.
template <typename Key>
struct FibNode;

/// One family's trie.
template <typename Key>
using FibRoot = boost::intrusive_ptr<const FibNode<Key>>;

/// Left-aligned bits of an IPv6 address; compared as a number.
struct FibKey6 {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend auto operator<=>(const FibKey6&, const FibKey6&) = default;
};
using FibKey4 = std::uint32_t;

/// Immutable; a value that is cheap to copy. Any thread may read one, and different threads may hold copies.
class Fib {
public:
    Fib();
    Fib(const Fib& other);
    Fib(Fib&& other) noexcept;
    Fib& operator=(const Fib& other);
    Fib& operator=(Fib&& other) noexcept;
    ~Fib();

    /// Of routes in any order; of two with one prefix the later one stays.
    static Fib build(const std::vector<FibRoute>& routes);

    /// The longest prefix that has the address in it.
    [[nodiscard]] RouteMatch find(const IpAddress& address) const;
    /// The route of exactly this prefix; null where there is none.
    [[nodiscard]] RouteEntryPtr find_exact(const Prefix& prefix) const;
    /// This one with a route added or replaced.
    [[nodiscard]] Fib with(const FibRoute& route) const;
    /// This one without a prefix's route; as it is where there is none.
    [[nodiscard]] Fib without(const Prefix& prefix) const;
    [[nodiscard]] std::size_t size() const { return size_; }  ///< routes
    /// Bytes of all nodes, whether shared with others or not. Walks the whole trie.
    [[nodiscard]] std::size_t bytes() const;

private:
    FibRoot<FibKey4> root4_;
    FibRoot<FibKey6> root6_;
    std::size_t size_ = 0;
};

}  // namespace viaduct::dataplane

// The trie's algorithms, once for both families.
#include "tables/fib.h"

#include <algorithm>
#include <bit>
#include <span>

namespace viaduct::dataplane {

template <typename Key>
struct FibNode : boost::intrusive_ref_counter<FibNode<Key>> {
    std::uint8_t length = 0;
    Key key{};
    FibRoot<Key> child[2];
    RouteEntryPtr entry;

    FibNode(const Key& bits, unsigned count, RouteEntryPtr leads_to)
        : length(static_cast<std::uint8_t>(count)), key(bits), entry(std::move(leads_to)) {}
    /// A copy to be changed: nobody holds it yet.
    FibNode(const FibNode& other)
        : boost::intrusive_ref_counter<FibNode>(),
          length(other.length),
          key(other.key),
          child{other.child[0], other.child[1]},
          entry(other.entry) {}
};

namespace {

template <typename Key>
inline constexpr unsigned kWidth = sizeof(Key) * 8;

// What the algorithms ask of a key: a bit, how much two have in common, and one cut short.

bool bit(FibKey4 key, unsigned at) {
    return (key >> (31 - at) & 1) != 0;
}
bool bit(const FibKey6& key, unsigned at) {
    return at < 64 ? (key.high >> (63 - at) & 1) != 0 : (key.low >> (127 - at) & 1) != 0;
}
unsigned common(FibKey4 a, FibKey4 b) {
    return static_cast<unsigned>(std::countl_zero(a ^ b));
}
unsigned common(const FibKey6& a, const FibKey6& b) {
    const auto high = a.high ^ b.high;
    return static_cast<unsigned>(high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(a.low ^ b.low));
}
FibKey4 cut(FibKey4 key, unsigned length) {
    return length == 0 ? 0 : key & ~std::uint32_t{0} << (32 - length);
}
FibKey6 cut(const FibKey6& key, unsigned length) {
    const auto part = [](std::uint64_t bits, unsigned kept) {
        return kept == 0 ? 0 : bits & ~std::uint64_t{0} << (64 - kept);
    };
    return {part(key.high, std::min(length, 64U)), part(key.low, length > 64 ? length - 64 : 0)};
}

std::uint64_t read_bits(std::span<const std::uint8_t> bytes) {
    std::uint64_t bits = 0;
    for (const auto byte : bytes)
        bits = bits << 8 | byte;
    return bits;
}
template <typename Key>
Key key_of(const IpAddress& address) {
    const auto bytes = address.bytes();
    if constexpr (sizeof(Key) == 4) {
        return static_cast<Key>(read_bits(bytes));
    } else {
        return {read_bits(bytes.first(8)), read_bits(bytes.subspan(8))};
    }
}

template <typename Key>
struct Item {
    Key key;
    unsigned length;
    const RouteEntryPtr* entry;
};

template <typename Key>
const FibNode<Key>* longest(const FibNode<Key>* node, const Key& key) {
    const FibNode<Key>* best = nullptr;
    while (node != nullptr && common(node->key, key) >= node->length) {
        if (node->entry) best = node;
        if (node->length == kWidth<Key>) break;
        node = node->child[bit(key, node->length)].get();
    }
    return best;
}

template <typename Key>
FibRoot<Key> insert(const FibRoot<Key>& at, const Item<Key>& item, bool& added) {
    using Node = FibNode<Key>;
    if (!at) {
        added = true;
        return new Node(item.key, item.length, *item.entry);
    }
    const auto shared = std::min({common(at->key, item.key), unsigned{at->length}, item.length});
    if (shared == at->length) {
        auto* copy = new Node(*at);
        FibRoot<Key> result(copy);
        if (item.length == shared) {
            added = !copy->entry;
            copy->entry = *item.entry;
        } else {
            auto& child = copy->child[bit(item.key, shared)];
            child = insert<Key>(child, item, added);
        }
        return result;
    }
    added = true;
    if (shared == item.length) {
        auto* above = new Node(item.key, item.length, *item.entry);
        above->child[bit(at->key, shared)] = at;
        return above;
    }
    auto* fork = new Node(cut(item.key, shared), shared, nullptr);
    fork->child[bit(at->key, shared)] = at;
    fork->child[bit(item.key, shared)] = new Node(item.key, item.length, *item.entry);
    return fork;
}

template <typename Key>
FibRoot<Key> erase(const FibRoot<Key>& at, const Key& key, unsigned length, bool& removed) {
    if (!at || at->length > length || common(at->key, key) < at->length) return at;
    auto* copy = new FibNode<Key>(*at);
    FibRoot<Key> result(copy);
    if (at->length == length) {
        if (!at->entry) return at;
        copy->entry = nullptr;
        removed = true;
    } else {
        auto& child = copy->child[bit(key, at->length)];
        child = erase<Key>(child, key, length, removed);
        if (!removed) return at;
    }
    // A node without an entry is there for its two children.
    if (copy->entry || (copy->child[0] && copy->child[1])) return result;
    return copy->child[0] ? copy->child[0] : copy->child[1];
}

/// Of items sorted by key, then length, none twice. What is a prefix of all others comes first.
template <typename Key>
FibRoot<Key> build_sorted(std::span<const Item<Key>> items) {
    if (items.empty()) return nullptr;
    const auto& first = items.front();
    const auto length = std::min(common(first.key, items.back().key), first.length);
    const bool own = first.length == length;
    auto* node = new FibNode<Key>(cut(first.key, length), length, own ? *first.entry : nullptr);
    FibRoot<Key> result(node);
    const auto rest = items.subspan(own ? 1 : 0);
    const auto ones =
        std::ranges::partition_point(rest, [&](const Item<Key>& item) { return !bit(item.key, length); });
    const auto zeros = static_cast<std::size_t>(ones - rest.begin());
    node->child[0] = build_sorted<Key>(rest.first(zeros));
    node->child[1] = build_sorted<Key>(rest.subspan(zeros));
    return result;
}

template <typename Key>
FibRoot<Key> build_family(const std::vector<FibRoute>& routes, bool v4, std::size_t& size) {
    std::vector<Item<Key>> items;
    items.reserve(routes.size());
    for (const auto& route : routes) {
        if (route.prefix.address.is_v4() != v4) continue;
        items.push_back({key_of<Key>(route.prefix.address), route.prefix.length, &route.entry});
    }
    const auto before = [](const Item<Key>& a, const Item<Key>& b) {
        return a.key != b.key ? a.key < b.key : a.length < b.length;
    };
    if (!std::ranges::is_sorted(items, before)) std::ranges::stable_sort(items, before);
    // Of those with one prefix the last stays.
    std::size_t kept = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const bool again = kept > 0 && !before(items[kept - 1], items[i]);
        items[again ? kept - 1 : kept++] = items[i];
    }
    size += kept;
    return build_sorted<Key>(std::span<const Item<Key>>(items).first(kept));
}

template <typename Key>
std::size_t bytes_under(const FibNode<Key>* node) {
    return node == nullptr
               ? 0
               : sizeof *node + bytes_under(node->child[0].get()) + bytes_under(node->child[1].get());
}

}  // namespace

std::string_view to_string(RouteAction action) {
    switch (action) {
        case RouteAction::local:
            return "local";
        case RouteAction::unicast:
            return "unicast";
        case RouteAction::blackhole:
            return "blackhole";
        case RouteAction::unreachable:
            return "unreachable";
        case RouteAction::prohibit:
            return "prohibit";
    }
    return "?";
}

std::string_view to_string(RouteOrigin origin) {
    switch (origin) {
        case RouteOrigin::local:
            return "local";
        case RouteOrigin::connected:
            return "connected";
        case RouteOrigin::configured:
            return "configured";
    }
    return "?";
}

RouteEntry::RouteEntry(RouteAction does, RouteOrigin from, std::vector<RouteHop> to, std::uint32_t route_mtu)
    : action(does), origin(from), mtu(route_mtu), hops(std::move(to)) {
    for (const auto& hop : hops)
        weights += hop.weight;
}

bool RouteEntry::same_as(const RouteEntry& other) const {
    return action == other.action && origin == other.origin && broadcast == other.broadcast &&
           mtu == other.mtu && hops == other.hops;
}

const RouteHop& RouteEntry::hop_for(std::uint64_t flow_hash) const {
    if (hops.size() == 1) return hops.front();
    // The upper half, as buckets are chosen by the lower.
    auto share = static_cast<std::uint32_t>((flow_hash >> 32) * weights >> 32);
    for (const auto& hop : hops) {
        if (share < hop.weight) return hop;
        share -= hop.weight;
    }
    return hops.back();
}

Fib::Fib() = default;
Fib::Fib(const Fib& other) = default;
Fib::Fib(Fib&& other) noexcept = default;
Fib& Fib::operator=(const Fib& other) = default;
Fib& Fib::operator=(Fib&& other) noexcept = default;
Fib::~Fib() = default;

Fib Fib::build(const std::vector<FibRoute>& routes) {
    Fib fib;
    fib.root4_ = build_family<FibKey4>(routes, true, fib.size_);
    fib.root6_ = build_family<FibKey6>(routes, false, fib.size_);
    return fib;
}

RouteMatch Fib::find(const IpAddress& address) const {
    const auto match = [](const auto* node) {
        return node == nullptr ? RouteMatch{} : RouteMatch{node->entry.get(), node->length};
    };
    return address.is_v4() ? match(longest(root4_.get(), key_of<FibKey4>(address)))
                           : match(longest(root6_.get(), key_of<FibKey6>(address)));
}

RouteEntryPtr Fib::find_exact(const Prefix& prefix) const {
    const auto exact = [&]<typename Key>(const FibRoot<Key>& root) -> RouteEntryPtr {
        const auto key = key_of<Key>(prefix.address);
        const auto* node = root.get();
        while (node != nullptr && node->length < prefix.length && common(node->key, key) >= node->length)
            node = node->child[bit(key, node->length)].get();
        const bool is = node != nullptr && node->length == prefix.length && node->key == key;
        return is ? node->entry : nullptr;
    };
    return prefix.address.is_v4() ? exact(root4_) : exact(root6_);
}

Fib Fib::with(const FibRoute& route) const {
    Fib next(*this);
    bool added = false;
    const auto add = [&]<typename Key>(FibRoot<Key>& root) {
        const Item<Key> item{key_of<Key>(route.prefix.address), route.prefix.length, &route.entry};
        root = insert<Key>(root, item, added);
    };
    route.prefix.address.is_v4() ? add(next.root4_) : add(next.root6_);
    next.size_ += added ? 1 : 0;
    return next;
}

Fib Fib::without(const Prefix& prefix) const {
    Fib next(*this);
    bool removed = false;
    const auto take = [&]<typename Key>(FibRoot<Key>& root) {
        root = erase<Key>(root, key_of<Key>(prefix.address), prefix.length, removed);
    };
    prefix.address.is_v4() ? take(next.root4_) : take(next.root6_);
    next.size_ -= removed ? 1 : 0;
    return next;
}

std::size_t Fib::bytes() const {
    return bytes_under(root4_.get()) + bytes_under(root6_.get());
}

}  // namespace viaduct::dataplane

// Telling frames apart, and the three ends that a packet's resolution can have.
#include "resolve/resolver.h"

#include <algorithm>
#include <bitset>
#include <optional>
#include <span>

#include <rte_mbuf.h>

#include "forward/switch.h"
#include "resolve/bridged_answer.h"
#include "resolve/commit.h"
#include "resolve/host.h"
#include "resolve/messages.h"
#include "resolve/nat.h"
#include "resolve/packet.h"
#include "resolve/packet_key.h"
#include "resolve/pipeline.h"
#include "resolve/service.h"

namespace viaduct::dataplane {

namespace {

/// Other workers meet the same flow's first packets: after so many defeats the packet is the network's loss.
constexpr unsigned kRoundsMost = 4;
constexpr std::uint8_t kIcmp6 = 58;
/// Packets by which the buckets that a packet asked for are read later.
constexpr unsigned kFetchBehind = 3;
/// Transport headers that are read or changed, and an ICMP error's packet inside as far.
constexpr std::uint32_t kHeadersMost = 128;

bool is_neighbour_discovery(const Packet& packet) {
    return !packet.v4 && packet.protocol == kIcmp6 && packet.l4_offset != 0 && packet.icmp_type >= 133 &&
           packet.icmp_type <= 137;
}

}  // namespace

Resolver::Resolver(Forwarder& forwarder, ResolveShared& shared, std::uint16_t number, std::uint16_t workers,
                   CycleClock clock)
    : forwarder_(forwarder),
      shared_(shared),
      number_(number),
      workers_(workers),
      clock_(std::move(clock)),
      setup_share_(clock_.per_second) {}

Resolver::~Resolver() = default;

void Resolver::resolve(const RoutedFrame* frames, std::uint16_t count) {
    std::array<Item, kBurst> items;
    std::uint16_t flows = 0;
    const bool limited = setup_share_.begin(clock_.now(), count);
    for (std::uint16_t i = 0; i < count; ++i) {
        if (take_apart(frames[i], items[flows]) && !(limited && drop_if_new(items[flows]))) ++flows;
    }
    recent_hops_.clear();
    // Bursts are of one family, nearly always.
    for (std::uint16_t from = 0; from < flows;) {
        auto to = from;
        while (to < flows && items[to].packet.v4 == items[from].packet.v4)
            ++to;
        for_family(items[from].packet.v4, [&]<typename Key>(const Key*) {
            resolve_flows<Key>(&items[from], static_cast<std::uint16_t>(to - from));
        });
        from = to;
    }
    setup_share_.end(clock_.now());
}

bool Resolver::is_answer(const RoutedFrame& bridged) {
    return is_bridged_answer(bridged, topology(), forwarder_.flows(), false);
}

/// By the table's signatures alone: a flow that exists is never mistaken for a new one.
bool Resolver::drop_if_new(const Item& item) {
    if (is_icmp_error(item.packet)) return false;
    const auto known = for_family(item.packet.v4, [&]<typename Key>(const Key*) {
        const auto& table = forwarder_.flows().of<Key>();
        return table.candidate(item.hash, table.likely_step()) != kNoFlow;
    });
    if (!known) drop(item.packet.routed, Drop::flow_setup_limit);
    return !known;
}

void Resolver::resolve_one(const RoutedFrame& routed) {
    Item item;
    if (!take_apart(routed, item)) return;
    recent_hops_.clear();
    for_family(item.packet.v4, [&]<typename Key>(const Key*) { resolve_flow<Key>(item); });
}

bool Resolver::take_apart(const RoutedFrame& routed, Item& item) {
    const auto& interfaces = tables().interfaces;
    // What was held may be from an interface that is no more.
    if (routed.interface >= interfaces.size() || !interfaces[routed.interface].config.up ||
        interfaces[routed.interface].vrf == nullptr) {
        drop(routed, Drop::interface_down);
        return false;
    }
    if (is_arp(routed)) {
        show_to_host(*this, routed);
        answer_arp(*this, routed);
        return false;
    }
    auto& packet = item.packet;
    if (const auto refused = read_packet(routed, packet); refused != Drop::count_) {
        const bool sound = refused == Drop::not_ip || is_from_host(topology(), routed);
        if (!sound || !pass_by_host(*this, routed)) drop(routed, refused);
        return false;
    }
    if (is_neighbour_discovery(packet)) {
        if (is_from_host(topology(), routed) && pass_by_host(*this, routed)) return false;
        show_to_host(*this, routed);
        answer_nd(*this, packet);
        return false;
    }
    // Sent to a group on the link: others hold the frame, and nothing of it is routed (RFC 1812 5.3.4).
    if (routed.shared) {
        drop(routed, Drop::group_not_routed);
        return false;
    }
    if (packet.fragment) {
        take_fragment(*this, packet);
        return false;
    }
    if (!make_writable(packet)) return false;
    item.hash = for_family(packet.v4, [&]<typename Key>(const Key*) {
        const auto& table = forwarder_.flows().of<Key>();
        const auto hash = table.hash(packet_key<Key>(packet, interfaces[routed.interface].zone));
        table.prefetch(hash, table.likely_step());
        return hash;
    });
    return true;
}

bool Resolver::make_writable(Packet& packet) {
    auto& frame = packet.routed.frame;
    const auto needed = std::min<std::uint32_t>(
        frame->pkt_len, std::max<std::uint32_t>(packet.l4_offset, packet.l3_offset) + kHeadersMost);
    if (frame->data_len >= needed && rte_mbuf_refcnt_read(frame) == 1) [[likely]]
        return true;
    auto* copy = rte_pktmbuf_copy(frame, pool(), 0, UINT32_MAX);
    if (copy == nullptr) {
        drop(packet.routed, Drop::no_buffer);
        return false;
    }
    rte_pktmbuf_free(frame);
    frame = copy;
    return true;
}

Context Resolver::context_for(const Packet& packet, std::uint64_t hash) {
    const auto& interface = tables().interfaces[packet.routed.interface];
    Context context{packet,
                    topology(),
                    tables(),
                    forwarder_.flows(),
                    shared_.neighbours,
                    shared_.nat_ports,
                    shared_.rate_limits,
                    shared_.services,
                    this,
                    now()};
    context.zone = interface.zone;
    context.vrf = interface.vrf;
    context.from_host = is_from_host(context.topology, packet.routed);
    context.hash = hash;
    context.recent_hops = &recent_hops_;
    return context;
}

bool Resolver::decide(Context& context) {
    const auto& packet = context.packet;
    if (is_icmp_error(packet)) {
        if (stage_sanity(context) == Step::drop) {
            drop(packet.routed, context.reason);
        } else {
            translate_icmp_error(*this, packet);
        }
        return false;
    }
    const auto step = run(pipeline(), context);
    if (step != Step::go_on) finish(context, step);
    return step == Step::go_on;
}

template <typename Key>
bool Resolver::enter(Context& context, Entry<Key>& entry) {
    const auto entered = enter_flow<Key>(context, entry);
    if (entered == Entered::yes) carry_out<Key>(*this, context, entry.record);
    if (entered == Entered::no) finish(context, Step::drop);
    return entered != Entered::again;
}

/// Theory of operation: a new flow touches some ten cache lines that nobody has touched lately. Each pass
/// over the burst starts the loads of what the next one reads: headers, buckets, entries, and where there is
/// no room for them the flows that may give way and their other directions.
template <typename Key>
void Resolver::resolve_flows(const Item* items, std::uint16_t count) {
    struct Decision {
        std::optional<Context> context;  ///< nothing: the packet has come to its end, or has its turn later
        Entry<Key> entry;
    };
    const auto& table = forwarder_.flows().of<Key>();
    std::array<const Packet*, kBurst> packets;
    std::transform(items, items + count, packets.begin(), [](const Item& item) { return &item.packet; });
    fetch_services(tables(), std::span(packets).first(count));
    std::array<Decision, kBurst> decisions;
    std::bitset<kBurst> later;
    std::bitset<kBurst> crowded;
    const auto fetch = [&](unsigned i) {
        auto& [context, entry] = decisions[i];
        crowded[i] = context && context->flow == kNoFlow && !table.fetch(entry.places);
    };
    for (unsigned i = 0; i < count; ++i) {
        // A flow's second packet finds what its first one is about to enter.
        const auto is_same = [&](const Item& other) { return other.hash == items[i].hash; };
        if (std::any_of(items, items + i, is_same)) {
            later.set(i);
        } else if (auto& context = decisions[i].context;
                   decide(context.emplace(context_for(items[i].packet, items[i].hash)))) {
            prepare_flow<Key>(*context, decisions[i].entry);
        } else {
            context.reset();
        }
        if (i >= kFetchBehind) fetch(i - kFetchBehind);
    }
    for (unsigned i = count < kFetchBehind ? 0U : count - kFetchBehind; i < count; ++i)
        fetch(i);
    for (unsigned i = 0; i < count && crowded.any(); ++i) {
        if (crowded[i]) table.fetch_victims(decisions[i].entry.places);
    }
    for (unsigned i = 0; i < count && crowded.any(); ++i) {
        if (crowded[i]) table.fetch_victims_peers(decisions[i].entry.places);
    }
    for (unsigned i = 0; i < count && crowded.any(); ++i) {
        if (crowded[i]) table.fetch_victims_holdings(decisions[i].entry.places);
    }
    for (unsigned i = 0; i < count; ++i) {
        auto& context = decisions[i].context;
        if (later[i] || (context && !enter<Key>(*context, decisions[i].entry))) resolve_flow<Key>(items[i]);
    }
}

template <typename Key>
void Resolver::resolve_flow(const Item& item) {
    for (unsigned round = 0; round < kRoundsMost; ++round) {
        auto context = context_for(item.packet, item.hash);
        if (!decide(context)) return;
        Entry<Key> entry;
        prepare_flow<Key>(context, entry);
        if (enter<Key>(context, entry)) return;
    }
    drop(item.packet.routed, Drop::flow_table_full);
}

void Resolver::route_alone(const Packet& packet, bool answers) {
    auto context = context_for(packet, 0);
    context.translation = untranslated(packet);
    context.answers = answers;
    const auto step = run(pipeline_without_flow(), context);
    if (step != Step::go_on) return finish(context, step);
    for_family(packet.v4,
               [&]<typename Key>(const Key*) { carry_out<Key>(*this, context, make_record<Key>(context)); });
}

void Resolver::finish(Context& context, Step step) {
    const auto& packet = context.packet;
    switch (step) {
        case Step::go_on:
            return;
        case Step::held:
            return give_back(context);
        case Step::consumed:
            give_back(context);
            return consume(packet.routed);
        case Step::passed:
            give_back(context);
            return pass_on(*this, packet.routed);
        case Step::drop:
            break;
    }
    give_back(context);
    send_icmp_error(*this, packet, context.reason, context.egress.mtu);
    drop(packet.routed, context.reason);
}

void Resolver::housekeeping() {
    if (now() == last_second_) return;
    last_second_ = now();
    expire_fragments(*this);
    neighbours_due(*this);
}

std::uint64_t Resolver::held() const {
    // Those that wait for neighbours are all workers' together, and told once.
    return fragments_.held() + (number_ == 0 ? shared_.neighbours.held() : 0);
}

void Resolver::drop(const RoutedFrame& routed, Drop why) {
    forwarder_.drop(routed.from, why, routed.frame);
}

void Resolver::consume(const RoutedFrame& routed) {
    forwarder_.counters(routed.from).consumed.add(1);
    rte_pktmbuf_free(routed.frame);
}

void Resolver::send(PortIndex from, rte_mbuf* frame, InterfaceIndex interface) {
    send_from_interface(forwarder_, interface, from, false, frame);
}

void Resolver::originate(rte_mbuf* frame, InterfaceIndex interface) {
    send_from_interface(forwarder_, interface, 0, true, frame);
}

}  // namespace viaduct::dataplane

#include "forward/execute.h"

#include "flow/flow_state.h"

namespace viaduct::dataplane {

namespace {

template <typename Address>
bool covers(const RouteChange& change, const Address& address) {
    if (change.v4 != (sizeof(Address) == sizeof(Ipv4Bytes))) return false;
    for (std::size_t i = 0; i < sizeof(Address); ++i) {
        if (((address.bytes[i] ^ change.network[i]) & change.mask[i]) != 0) return false;
    }
    return true;
}

}  // namespace

template <typename Key>
bool still_holds(const Topology& topology, const FlowRecord<Key>& record) {
    const auto age = topology.flow_generation - record.generation;
    if (age == 0 || age > topology.flow_generation - topology.flows_since || record.generation == 0)
        return false;
    for (auto change = topology.route_changes.rbegin(); change != topology.route_changes.rend(); ++change) {
        if (topology.flow_generation - change->generation >= age) break;
        if (covers(*change, record.key.destination) || covers(*change, record.new_destination) ||
            covers(*change, record.key.source) || covers(*change, record.new_source))
            return false;
    }
    return true;
}

template bool still_holds(const Topology&, const FlowRecord<FlowKey4>&);
template bool still_holds(const Topology&, const FlowRecord<FlowKey6>&);

template <typename Key>
bool renew(FlowTable<Key>& table, const Topology& topology, FlowIndex flow, FlowRecord<Key>& record) {
    if (!still_holds(topology, record)) return false;
    table.restamp(flow, record, topology.flow_generation);
    record.generation = topology.flow_generation;
    return true;
}

template bool renew(FlowTable<FlowKey4>&, const Topology&, FlowIndex, FlowRecord<FlowKey4>&);
template bool renew(FlowTable<FlowKey6>&, const Topology&, FlowIndex, FlowRecord<FlowKey6>&);

template <typename Key>
bool is_over(const FlowTable<Key>& table, FlowIndex flow) {
    const auto& tail = table.tail(flow);
    const auto peer = tail.peer.load(std::memory_order_relaxed);
    if (peer == kNoFlow) return false;
    const auto state = flow_state(kTcp, tail, table.tail(peer));
    return state == FlowState::time_wait || state == FlowState::closed;
}

template bool is_over(const FlowTable<FlowKey4>&, FlowIndex);
template bool is_over(const FlowTable<FlowKey6>&, FlowIndex);

namespace detail {

void trim(rte_mbuf* frame, std::uint32_t length) {
    auto* last = frame;
    std::uint32_t left = length;
    std::uint16_t segments = 1;
    for (; left > last->data_len; ++segments) {
        left -= last->data_len;
        last = last->next;
    }
    last->data_len = static_cast<std::uint16_t>(left);
    auto* rest = last->next;
    last->next = nullptr;
    frame->pkt_len = length;
    frame->nb_segs = segments;
    while (rest != nullptr) {
        auto* next = rest->next;
        rte_pktmbuf_free_seg(rest);
        rest = next;
    }
}

}  // namespace detail

}  // namespace viaduct::dataplane

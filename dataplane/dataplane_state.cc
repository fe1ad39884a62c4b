// Publishing topologies, and reading back what is in force: what a Dataplane answers.
#include "dataplane_state.h"

#include <algorithm>

#include <rte_mempool.h>

#include "flow_listing.h"

namespace viaduct::dataplane {

namespace {

RouteChange route_change(const Prefix& prefix, std::uint32_t generation) {
    RouteChange change;
    change.generation = generation;
    change.v4 = prefix.address.is_v4();
    const auto network = prefix.network();
    std::copy(network.bytes().begin(), network.bytes().end(), change.network.begin());
    for (unsigned bit = 0; bit < prefix.length; ++bit)
        change.mask[bit / 8] = static_cast<std::uint8_t>(change.mask[bit / 8] | 0x80U >> (bit % 8));
    return change;
}

}  // namespace

PortIndex Dataplane::State::free_index() const {
    for (PortIndex index = 0; index < kPortsMost; ++index) {
        if (!used[index]) return index;
    }
    throw Refused("ports", "are as many as a dataplane can have: " + std::to_string(kPortsMost - 1));
}

void Dataplane::State::install(std::unique_ptr<Topology> next_topology, const Ownership& next) {
    next_topology->generation = ++generation;
    next_topology->tables = tables;
    next_topology->flow_generation = tables->generation;
    next_topology->flows_since = flows_since;
    next_topology->route_changes = route_changes;
    next_topology->flow_timeouts = tables->timeouts;
    crew.topology.store(next_topology.get(), std::memory_order_release);
    if (topology) retired.push_back(std::move(topology));
    topology = std::move(next_topology);
    owners = next;
    watch_queues();
    wake_all();
}

/// A worker is woken by the queues it owns and by no others.
void Dataplane::State::watch_queues() {
    std::map<QueueId, Watch> next;
    for (const auto& [queue, owner] : owners) {
        const auto* device = topology->ports[queue.first].port;
        if (device != nullptr && owner < workers.size())
            next[queue] = {owner, device->wait_descriptor(queue.second)};
    }
    // A polled queue's descriptor comes and goes with its guest and may come back as the same number: only
    // signalled queues are known to be watched still.
    const auto stays = [&](const QueueId& queue, const Watch& watch, const std::map<QueueId, Watch>& others) {
        const auto other = others.find(queue);
        const auto* device = topology->ports[queue.first].port;
        return other != others.end() && other->second == watch && device != nullptr &&
               device->readiness() == Readiness::signalled;
    };
    for (const auto& [queue, watch] : watched) {
        if (!stays(queue, watch, next)) workers[watch.worker]->unwatch(watch.descriptor);
    }
    for (const auto& [queue, watch] : next) {
        if (stays(queue, watch, watched)) continue;
        workers[watch.worker]->watch(*topology->ports[queue.first].port, queue.first, queue.second);
    }
    watched = std::move(next);
}

void Dataplane::State::settle() {
    crew.synchronize();
    retired.clear();
}

void Dataplane::State::renew_tables() {
    std::set<std::string, std::less<>> vrfs{std::string(model::kDefaultVrf)};
    for (const auto& [name, vrf] : config.vrfs)
        vrfs.insert(name);
    for (const auto& [name, interface] : config.interfaces)
        vrfs.insert(interface.vrf);
    flows.keep_zones(vrfs);
    const auto zone_of = [this](const std::string& vrf) { return flows.zone(vrf); };
    const std::uint32_t before = tables ? tables->generation : 0;
    const std::uint32_t next = before == UINT32_MAX ? 1 : before + 1;
    tables = tables_builder.build(config, interface_places, zone_of, next, touched_routes);
    note_route_changes(next);
    touched_routes.clear();
    touched_services.clear();
    only_destinations = false;
}

/// `now`: the first generation with them.
void Dataplane::State::note_route_changes(std::uint32_t now) {
    if (!only_destinations || touched_routes.size() + touched_services.size() > kRouteChangesMost) {
        route_changes.clear();
        flows_since = now;
        return;
    }
    for (const auto& [vrf, prefix] : touched_routes)
        route_changes.push_back(route_change(prefix, now));
    // Of a service's flow each direction has the address at which the service is found: as the one that it
    // came for, or as the one that answers.
    for (const auto& address : touched_services)
        route_changes.push_back(route_change({address, static_cast<std::uint8_t>(address.bits())}, now));
    // Of a generation that is not known whole nothing is known.
    while (route_changes.size() > kRouteChangesMost) {
        flows_since = route_changes.front().generation;
        std::erase_if(route_changes, [this](const auto& change) { return change.generation == flows_since; });
    }
}

void Dataplane::State::configure_neighbours() {
    std::vector<PermanentNeighbour> permanent;
    for (const auto& [key, neighbour] : config.neighbours) {
        const auto place = interface_places.find(neighbour.interface);
        if (place != interface_places.end())
            permanent.push_back({{place->second, neighbour.address}, neighbour.mac});
    }
    std::set<InterfaceIndex> present;
    for (const auto& [name, index] : interface_places)
        present.insert(index);
    flows.shared().neighbours.configure([&](InterfaceIndex index) { return present.contains(index); },
                                        permanent);
}

void Dataplane::State::wake_all() {
    for (auto& worker : workers)
        worker->wake();
}

model::Config Dataplane::config() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->config;
}

std::uint64_t Dataplane::revision() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->revision;
}

std::vector<PortState> Dataplane::ports() const {
    const std::scoped_lock lock(state_->mutex);
    const auto& s = *state_;
    std::vector<PortState> list;
    for (const auto& [name, slot] : s.ports) {
        PortState state;
        state.port = slot->config;
        state.index = slot->index;
        state.link_up = slot->config.up && slot->device->link_up();
        state.detail = slot->device->detail();
        state.held = slot->device->held();
        state.refused = slot->device->refused();
        state.cut_short = slot->device->cut_short();
        state.packet_buffers = port_buffers(slot->config);
        if (!slot->config.uplink.promiscuous) state.filter = model::filter_of(s.config, slot->config);
        for (auto it = s.owners.lower_bound({slot->index, 0});
             it != s.owners.end() && it->first.first == slot->index; ++it) {
            state.queues.push_back({it->first.second, it->second});
        }
        for (const auto& worker : s.workers)
            state.totals.add(worker->counters()[slot->index]);
        const auto bridge = s.bridges.find(slot->config.bridge);
        if (bridge != s.bridges.end()) state.fdb_entries = bridge->second.fdb->entries(slot->index);
        list.push_back(std::move(state));
    }
    return list;
}

Ledger Dataplane::ledger() const {
    const std::scoped_lock lock(state_->mutex);
    const auto& s = *state_;
    Ledger ledger;
    ledger.total = s.gone;
    for (const auto& worker : s.workers) {
        for (const auto& counters : worker->counters())
            ledger.total.add(counters);
    }
    for (unsigned from = 0; from < s.crew.size(); ++from) {
        for (unsigned to = 0; to < s.crew.size(); ++to) {
            if (from != to) ledger.held += rte_ring_count(s.crew.ring(from, to));
        }
    }
    for (const auto& worker : s.workers)
        ledger.waiting += worker->held();
    ledger.held += ledger.waiting;
    return ledger;
}

FlowTables Dataplane::flows() const {
    return state_->crew.flows;
}

FlowNames Dataplane::flow_names() const {
    const std::scoped_lock lock(state_->mutex);
    const auto& s = *state_;
    FlowNames names;
    for (const auto& [zone, vrf] : s.tables->vrfs)
        names.vrfs.emplace(zone, vrf.name);
    for (const auto& interface : s.tables->interfaces)
        names.interfaces.push_back(interface.config.name);
    names.ports.resize(kPortsMost);
    for (const auto& [name, slot] : s.ports)
        names.ports[slot->index] = name;
    names.services = s.tables->services;
    names.timeouts = s.tables->timeouts;
    names.generation = s.tables->generation;
    names.now = s.crew.now.load();
    return names;
}

std::uint32_t Dataplane::flow_generation() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->tables->generation;
}

std::vector<WorkerState> Dataplane::workers() const {
    const std::scoped_lock lock(state_->mutex);
    std::vector<WorkerState> list;
    for (std::uint16_t i = 0; i < state_->workers.size(); ++i) {
        const auto& worker = *state_->workers[i];
        WorkerState state{worker.lcore(),      worker.turns(), worker.idle_turns(), worker.sleeps(), 0,
                          worker.handed_off(), worker.swept()};
        for (const auto& [queue, owner] : state_->owners)
            state.queues += owner == i ? 1 : 0;
        list.push_back(state);
    }
    return list;
}

namespace {

FdbKey vlan_of(FdbKey key) {
    return key >> 48;
}

}  // namespace

void Dataplane::visit_fdb(const FdbFilter& filter, const std::function<void(const FdbState&)>& visit) const {
    // Names and tables are taken under the lock; the tables themselves are read without it.
    std::map<std::string, std::shared_ptr<Fdb>> tables;
    std::vector<std::string> names(kPortsMost);
    std::map<std::uint16_t, IpAddress> peers;
    std::uint32_t now = 0;
    {
        const std::scoped_lock lock(state_->mutex);
        for (const auto& [name, slot] : state_->bridges) {
            if (!filter.bridge || *filter.bridge == name) tables.emplace(name, slot.fdb);
        }
        for (const auto& [name, slot] : state_->ports)
            names[slot->index] = name;
        for (const auto& [end, index] : state_->tunnel_places)
            peers.emplace(static_cast<std::uint16_t>(index + 1), end.second);
        now = state_->crew.now.load();
    }
    for (const auto& [bridge, fdb] : tables) {
        fdb->visit([&, &name = bridge](FdbKey key, FdbValue value) {
            if (value.port() >= kGatewayFirst) return;  // a router interface: no port
            const auto vlan = static_cast<std::uint16_t>(vlan_of(key));
            const auto& port = names[value.port()];
            if ((filter.port && *filter.port != port) || (filter.vlan && *filter.vlan != vlan) ||
                port.empty())
                return;
            const auto age = value.is_static() || now < value.seen() ? 0 : now - value.seen();
            std::optional<IpAddress> remote;
            if (const auto peer = peers.find(value.tunnel()); peer != peers.end()) remote = peer->second;
            visit({{name, vlan, MacAddress::from_u64(key & 0xffffffffffff), port, remote},
                   value.is_static(),
                   age});
        });
    }
}

std::uint64_t Dataplane::flush_fdb(const FdbFilter& filter) {
    const std::scoped_lock lock(state_->mutex);
    auto& s = *state_;
    std::optional<PortIndex> index;
    if (filter.port) {
        const auto found = s.ports.find(*filter.port);
        if (found == s.ports.end()) throw Refused("port", "\"" + *filter.port + "\" does not exist");
        index = found->second->index;
    }
    if (filter.bridge && !s.bridges.contains(*filter.bridge)) {
        throw Refused("bridge", "\"" + *filter.bridge + "\" does not exist");
    }
    std::uint64_t flushed = 0;
    for (auto& [name, slot] : s.bridges) {
        if (filter.bridge && *filter.bridge != name) continue;
        flushed += slot.fdb->remove_if([&](FdbKey key, FdbValue value) {
            return (!index || value.port() == *index) && (!filter.vlan || vlan_of(key) == *filter.vlan);
        });
    }
    return flushed;
}

BufferAccount Dataplane::buffers() const {
    const std::scoped_lock lock(state_->mutex);
    const auto element =
        static_cast<std::uint64_t>(pool_->elt_size) + pool_->header_size + pool_->trailer_size;
    return {options_.packet_buffers, state_->buffers_reserved, element * options_.packet_buffers};
}

}  // namespace viaduct::dataplane

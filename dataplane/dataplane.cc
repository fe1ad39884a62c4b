// Transactions: check everything, then change everything, in an order that never shows a worker half of it.
#include "dataplane.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include <rte_launch.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <spdlog/spdlog.h>

#include "viaduct/model_kinds.h"

#include "dataplane_state.h"
#include "port/ethdev.h"
#include "port/packet_pool.h"
#include "port/shaped_port.h"
#include "port/vxlan_end.h"
#include "resolve/fragments.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kMempoolCache = 256;
/// A full scan of the FDBs takes this many ticks: about a second.
constexpr std::uint32_t kAgeingSteps = 10;

std::uint32_t monotonic_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint32_t>(now.tv_sec);
}

/// Whether a port can become what it is in another configuration without being made anew.
bool same_device(const model::Config& in_a, const model::Port& a, const model::Config& in_b,
                 const model::Port& b) {
    return a.kind == b.kind && a.queues == b.queues && model::mac_of(in_a, a) == model::mac_of(in_b, b) &&
           a.vhost == b.vhost && a.tap == b.tap && a.uplink == b.uplink && a.vxlan.vni == b.vxlan.vni &&
           a.vxlan.local == b.vxlan.local && a.vxlan.udp_port == b.vxlan.udp_port;
}

/// Whether a device that was made for `old` does for `wanted`: its interface may have been moved since.
bool serves(const Port& device, const model::Config& in_old, const model::Port& old,
            const model::Config& in_wanted, const model::Port& wanted) {
    if (same_device(in_old, old, in_wanted, wanted)) return true;
    auto moved = old;
    moved.tap = wanted.tap;
    return same_device(in_old, moved, in_wanted, wanted) && device.is_at(wanted.tap);
}

/// What two devices cannot have at once.
std::vector<std::string> device_places(const model::Port& port) {
    switch (port.kind) {
        case model::PortKind::tap:
            return {"tap " + port.tap.netns + " " + port.tap.ifname};
        case model::PortKind::uplink:
            return model::places_of(port.uplink);
        case model::PortKind::vxlan:
            return {"vxlan " + port.name};
        default:
            return {port.vhost.path};
    }
}

/// Whether two configurations differ in nothing but routes and services.
bool differ_in_destinations_alone(const model::Config& a, const model::Config& b) {
    bool alone = a.timeouts == b.timeouts;
    model::for_each_kind([&](const auto& kind) {
        using Object = typename std::decay_t<decltype(kind)>::Object;
        if constexpr (!std::is_same_v<Object, model::Route> && !std::is_same_v<Object, model::Service>)
            alone = alone && a.*kind.objects == b.*kind.objects;
    });
    return alone;
}

std::vector<RouteKey> touched_routes(const model::Change& change) {
    std::vector<RouteKey> touched;
    for (const auto& [key, route] : change.put.routes)
        touched.push_back(key);
    touched.insert(touched.end(), change.delete_routes.begin(), change.delete_routes.end());
    return touched;
}

/// Where services that differ are found, now or before; more than kRouteChangesMost when there are many.
std::set<IpAddress> touched_services(const model::Config& from, const model::Config& to) {
    std::set<IpAddress> touched;
    decltype(model::Config::services)::differences(
        from.services, to.services,
        [&](const auto&, const model::Service* before, const model::Service* after) {
            for (const auto* service : {before, after}) {
                if (service == nullptr) continue;
                for (const auto& frontend : service->frontends)
                    touched.insert(frontend.address);
            }
            return touched.size() <= kRouteChangesMost;
        });
    return touched;
}

}  // namespace

Dataplane::Dataplane(DataplaneOptions options) : options_(std::move(options)) {
    if (!options_.clock) options_.clock = monotonic_seconds;
    if (options_.fdb_seed == 0 && ::getrandom(&options_.fdb_seed, sizeof options_.fdb_seed, 0) < 0) {
        throw std::runtime_error("the kernel gives no random numbers");
    }
    pool_ = make_packet_pool("packets", options_.packet_buffers, kBufferPayload, kMempoolCache);
    changed_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    state_ = std::make_unique<State>(static_cast<unsigned>(options_.worker_lcores.size()),
                                     options_.flow_memory, options_.fdb_seed, options_.clock());
    auto& s = *state_;
    s.buffers_reserved = worker_buffers();
    s.crew.now = options_.clock();
    publish();
    for (std::uint16_t i = 0; i < options_.worker_lcores.size(); ++i) {
        s.workers.push_back(std::make_unique<Worker>(s.crew, i, options_.worker_lcores[i],
                                                     options_.poll == PollMode::busy, pool_));
        s.crew.workers.push_back(s.workers.back().get());
    }
    for (auto& worker : s.workers) {
        const auto run = [](void* w) {
            static_cast<Worker*>(w)->run();
            return 0;
        };
        if (rte_eal_remote_launch(run, worker.get(), worker->lcore()) != 0) {
            throw std::runtime_error("lcore " + std::to_string(worker->lcore()) +
                                     " is not one of EAL's idle lcores");
        }
    }
}

Dataplane::~Dataplane() {
    auto& s = *state_;
    s.crew.stop = true;
    for (auto& worker : s.workers)
        worker->wake();
    for (auto& worker : s.workers)
        rte_eal_wait_lcore(worker->lcore());
    while (s.crew.ended.load(std::memory_order_acquire) < s.workers.size())
        rte_pause();
    // Destroyed without stop(): what outlives a process (a pod's interface) stays for the next one.
    s.ports.clear();
    drain_rings();
    state_.reset();
    ::close(changed_);
    rte_mempool_free(pool_);
}

void Dataplane::drain_rings() {
    auto& crew = state_->crew;
    for (unsigned from = 0; from < crew.size(); ++from) {
        for (unsigned to = 0; to < crew.size(); ++to) {
            if (from != to) Worker::discard(crew.ring(from, to));
        }
    }
}

std::uint32_t Dataplane::worker_buffers() const {
    const auto workers = static_cast<std::uint32_t>(options_.worker_lcores.size());
    // Each worker's cache may hold one and a half times its size, each hand-off ring may be full, and
    // fragments wait for their others.
    return workers * (kMempoolCache * 3 / 2 + kBurst + Fragments::frames_most(options_.packet_buffers)) +
           workers * (workers - 1) * kHandOffRing;
}

std::uint32_t Dataplane::port_buffers(const model::Port& port) const {
    const auto segments = (port.mtu + 18U + kBufferPayload - 1) / kBufferPayload;
    const auto workers = static_cast<std::uint32_t>(options_.worker_lcores.size());
    // A burst received on each queue, and a burst staged for the port by each worker; an Ethernet device has
    // its rings full of buffers besides, sent ones that it has not given back yet included.
    const auto devices = static_cast<std::uint32_t>(model::devices_of(port.uplink).size());
    const auto rings = port.kind == model::PortKind::uplink ? 2U * kEthdevRing * port.queues * devices : 0U;
    const auto line = port.tx_limit.rate != 0 ? ShapedPort::kLine * port.queues : 0U;
    return ((port.queues + workers) * kBurst + line) * segments + rings;
}

void Dataplane::check_buffers(const model::Config& next, Faults& faults) const {
    std::uint64_t needed = worker_buffers();
    for (const auto& [name, port] : next.ports) {
        const auto mine = port_buffers(port);
        const auto left = options_.packet_buffers - std::min<std::uint64_t>(options_.packet_buffers, needed);
        needed += mine;
        if (needed <= options_.packet_buffers) continue;
        faults.push_back({"ports/" + name, "needs " + std::to_string(mine) + " packet buffers and " +
                                               std::to_string(left) + " of " +
                                               std::to_string(options_.packet_buffers) +
                                               " are left; raise --packet-buffers or remove ports"});
        needed -= mine;
    }
    if (next.ports.size() > kPortsMost - 1) {
        faults.push_back({"ports", "would be " + std::to_string(next.ports.size()) +
                                       "; a dataplane has at most " + std::to_string(kPortsMost - 1)});
    }
}

std::uint64_t Dataplane::apply(const model::Change& change, bool dry_run) {
    const std::scoped_lock lock(state_->mutex);
    auto& s = *state_;
    Faults faults;
    auto next = model::apply(s.config, change, faults);
    model::check(next, faults, &s.config);
    check_buffers(next, faults);
    check_tunnels(next, faults);
    if (!faults.empty()) throw Refused(std::move(faults));
    if (dry_run || next == s.config) return s.revision;

    // Which devices go, which come. A device whose place a new one takes must go first.
    std::vector<std::string> removed;
    std::vector<std::string> made;
    std::set<std::string> wanted_places;
    for (const auto& [name, port] : next.ports) {
        const auto old = s.ports.find(name);
        if (old != s.ports.end() && serves(*old->second->device, s.config, old->second->config, next, port))
            continue;
        made.push_back(name);
        for (auto& place : device_places(port))
            wanted_places.insert(std::move(place));
    }
    std::vector<std::string> removed_first;
    for (const auto& [name, slot] : s.ports) {
        const auto kept = next.ports.find(name);
        const bool goes = kept == next.ports.end();
        if (!goes && serves(*slot->device, s.config, slot->config, next, kept->second)) continue;
        const auto places = device_places(slot->config);
        const bool first = !goes || std::any_of(places.begin(), places.end(), [&](const auto& place) {
            return wanted_places.contains(place);
        });
        (first ? removed_first : removed).push_back(name);
    }
    replace_devices(next, removed_first, made);
    take_over(std::move(next), removed, touched_routes(change));
    return s.revision;
}

void Dataplane::replace_devices(const model::Config& next, const std::vector<std::string>& removed,
                                const std::vector<std::string>& made) {
    auto& s = *state_;
    remove_devices(removed);
    std::vector<std::string> done;
    try {
        for (const auto& name : made) {
            make_device(next, next.ports.at(name));
            done.push_back(name);
        }
        filter_devices(next);
    } catch (...) {
        // Nothing half applied: what was made goes, what was removed comes back as it was.
        remove_devices(done);
        for (const auto& name : removed)
            restore_device(name);
        try {
            filter_devices(s.config);
        } catch (const Refused& refused) {
            spdlog::error("a filter could not be restored after a refused transaction: {}", refused.what());
        }
        publish();
        s.settle();
        place_statics(s.config.fdb);
        throw;
    }
}

/// Uplinks that are not promiscuous take what `config` has behind them. Told before it takes over: a device
/// may have no room for it.
void Dataplane::filter_devices(const model::Config& config) {
    for (const auto& [name, slot] : state_->ports) {
        const auto port = config.ports.find(name);
        if (port == config.ports.end() || port->second.kind != model::PortKind::uplink ||
            port->second.uplink.promiscuous)
            continue;
        try {
            slot->device->filter_by(model::filter_of(config, port->second));
        } catch (const Refused& refused) {
            throw Refused("ports/" + name + "/promiscuous", refused.faults().front().reason);
        }
    }
}

/// Makes a device that had to go anew, as it was. One that cannot come back is out of the configuration too:
/// control sees that it is missing and says so.
void Dataplane::restore_device(const std::string& name) {
    auto& s = *state_;
    try {
        make_device(s.config, s.config.ports.at(name));
        s.ports.at(name)->config = s.config.ports.at(name);
        limit(*s.ports.at(name), s.config.ports.at(name));
    } catch (const std::exception& error) {
        spdlog::error("port {} could not be restored after a refused transaction: {}", name, error.what());
        ++s.revision;
        s.config.ports.erase(name);
        erase_if(s.config.fdb, [&](const auto& entry) { return entry.second.port == name; });
    }
}

void Dataplane::make_device(const model::Config& config, const model::Port& port) {
    auto& s = *state_;
    const auto index = s.free_index();
    auto slot = std::make_unique<PortSlot>();
    slot->config = port;
    slot->index = index;
    if (port.kind == model::PortKind::vxlan) {
        slot->device = std::make_unique<VxlanEnd>(port.vxlan);
    } else {
        auto settled = port;
        settled.mac = model::mac_of(config, port);
        slot->device = options_.make_port(settled, index, pool_, *this);
    }
    slot->was_up = slot->device->link_up();
    slot->device->set_mtu(port.mtu);
    // Until the transaction takes over, the device is on no bridge: nothing reaches it or comes from it.
    slot->config.bridge.clear();
    slot->config.host.clear();
    slot->config.vlan.reset();
    s.used[index] = true;
    s.buffers_reserved += port_buffers(port);
    s.ports.emplace(port.name, std::move(slot));
}

void Dataplane::remove_devices(const std::vector<std::string>& names) {
    if (names.empty()) return;
    auto& s = *state_;
    std::vector<std::unique_ptr<PortSlot>> leaving;
    for (const auto& name : names) {
        auto node = s.ports.extract(name);
        s.buffers_reserved -= port_buffers(node.mapped()->config);
        leaving.push_back(std::move(node.mapped()));
    }
    publish();
    // No worker sends to them any more. A second grace period later no hand-off ring holds frames for them
    // either.
    s.crew.synchronize();
    for (auto& slot : leaving)
        slot->device->stop();
    s.wake_all();
    s.crew.synchronize();
    for (auto& slot : leaving) {
        for (auto& [name, bridge] : s.bridges) {
            bridge.fdb->remove_if([&](FdbKey, FdbValue v) { return v.port() == slot->index; }, true);
        }
        for (auto& worker : s.workers) {
            auto& counters = worker->counters()[slot->index];
            s.gone.add(counters);
            counters.reset();
        }
        s.used[slot->index] = false;
    }
}

/// A port that is limited once stays so, if only to no limit: it may have frames in line.
void Dataplane::limit(PortSlot& slot, const model::Port& port) {
    const bool wanted = port.rx_limit.rate != 0 || port.tx_limit.rate != 0;
    if (slot.shaper == nullptr && wanted) {
        // Workers go on with the inner port until the topology that is being made takes over.
        auto shaper = std::make_unique<ShapedPort>(std::move(slot.device), port.queues);
        slot.shaper = shaper.get();
        slot.device = std::move(shaper);
    }
    if (slot.shaper != nullptr) slot.shaper->set_limits(port.rx_limit, port.tx_limit);
}

void Dataplane::take_over(model::Config next, const std::vector<std::string>& removed,
                          std::vector<RouteKey> touched) {
    auto& s = *state_;
    std::vector<std::pair<std::string, PortIndex>> relearn;
    for (const auto& [name, port] : next.ports) {
        auto& slot = *s.ports.at(name);
        limit(slot, port);
        if (slot.config.mtu != port.mtu) slot.device->set_mtu(port.mtu);
        const bool moved = slot.config.bridge != port.bridge || slot.config.vlan != port.vlan;
        if (moved && !slot.config.bridge.empty()) relearn.emplace_back(slot.config.bridge, slot.index);
        if (port_buffers(slot.config) != port_buffers(port)) {
            s.buffers_reserved -= port_buffers(slot.config);
            s.buffers_reserved += port_buffers(port);
        }
        slot.config = port;
    }
    forget_gateways(next);
    s.interface_places = place_interfaces(next.interfaces, s.interface_places);
    const auto tunnels_before = std::move(s.tunnel_places);
    s.tunnel_places = place_tunnels(next, tunnels_before);
    place_bridges(next);
    s.only_destinations = removed.empty() && differ_in_destinations_alone(s.config, next);
    s.touched_services = touched_services(s.config, next);
    const auto statics_before = std::move(s.config.fdb);
    s.config = std::move(next);
    ++s.revision;
    s.touched_routes = std::move(touched);
    // Ports that leave for good go with the same topology as everything else; remove_devices() publishes it.
    if (removed.empty()) {
        publish();
    } else {
        remove_devices(removed);
    }
    s.settle();
    for (const auto& [bridge, index] : relearn) {
        const auto found = s.bridges.find(bridge);
        if (found == s.bridges.end()) continue;
        found->second.fdb->remove_if([at = index](FdbKey, FdbValue v) { return v.port() == at; }, true);
    }
    forget_tunnels(tunnels_before);
    place_statics(statics_before);
    place_gateways();
    s.configure_neighbours();
}

void Dataplane::port_changed(PortIndex index) {
    (void)index;
    state_->stale = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(changed_, &one, sizeof one);
}

void Dataplane::request_resolve() {
    state_->resolve = true;
}

/// Whether something has changed that flows carry: what was asked for, a neighbour's MAC address, or the port
/// behind which an address is on a bridge that is routed from.
bool Dataplane::take_resolve() {
    auto& s = *state_;
    bool resolve = s.resolve.exchange(false);
    if (s.flows.shared().neighbours.take_changed()) resolve = true;
    for (const auto& [name, interface] : s.config.interfaces) {
        if (s.bridges.at(interface.bridge).fdb->take_moved()) resolve = true;
    }
    return resolve;
}

std::vector<Port*> Dataplane::ports_to_tend() const {
    std::vector<Port*> found;
    for (const auto& [name, slot] : state_->ports) {
        if (slot->device->needs_tending()) found.push_back(slot->device.get());
    }
    return found;
}

void Dataplane::wake_workers() {
    const std::scoped_lock lock(state_->mutex);
    state_->wake_all();
}

void Dataplane::tick() {
    auto& s = *state_;
    s.crew.now.store(options_.clock(), std::memory_order_relaxed);
    std::uint64_t drained = 0;
    [[maybe_unused]] const auto got = ::read(changed_, &drained, sizeof drained);
    const std::scoped_lock lock(s.mutex);
    const bool stale = s.stale.exchange(false);
    const bool resolve = take_resolve();
    // Asked before the topology is made: what they say of their queues then is in it.
    const auto tended = stale ? ports_to_tend() : std::vector<Port*>();
    if (stale || resolve) {
        publish(resolve || links_changed() ? Flows::resolve_again : Flows::stay);
        s.settle();
        forget_behind_down_links();
    }
    for (auto* port : tended) {
        // As for one that is removed: after the second grace period no hand-off ring holds frames for it.
        port->tend([&] {
            s.crew.synchronize();
            s.wake_all();
            s.crew.synchronize();
        });
    }
    tell_exhaustion();
    tell_duplicates();
    const auto step = s.ageing_step;
    s.ageing_step = (step + 1) % kAgeingSteps;
    for (auto& [name, bridge] : s.bridges) {
        bridge.fdb->expire(s.crew.now.load(), bridge.config.ageing_seconds, step, kAgeingSteps);
    }
}

}  // namespace viaduct::dataplane

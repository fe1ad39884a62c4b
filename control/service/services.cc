#include "service/services.h"

#include <algorithm>
#include <array>
#include <utility>

#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"
#include "viaduct/model_kinds.h"

#include "service/endpoints.h"
#include "store/config_history.h"

namespace viaduct::service {

namespace {

using kubernetes::ObjectName;

/// Leads out of the node: an uplink is on its bridge, or the host shares it.
std::set<std::string> outer_interfaces(const model::Config& config) {
    std::set<std::string> bridges;
    std::set<std::string> outer;
    for (const auto& [name, port] : config.ports) {
        if (port.kind == model::PortKind::uplink) bridges.insert(port.bridge);
        if (!port.host.empty()) outer.insert(port.host);
    }
    for (const auto& [name, interface] : config.interfaces) {
        if (bridges.contains(interface.bridge)) outer.insert(name);
    }
    return outer;
}

/// Names addresses or node ports of its own.
bool asks_for_places(const kubernetes::Service& service) {
    const auto has_number = [](const kubernetes::ServicePort& port) { return port.node_port != 0; };
    return !service.cluster_ips.empty() || service.health_check_node_port != 0 ||
           std::ranges::any_of(service.ports, has_number);
}

model::Change change_between(const SharedMap<model::ServiceKey, model::Service>& from,
                             const SharedMap<model::ServiceKey, model::Service>& to) {
    model::Config before;
    model::Config after;
    before.services = from;
    after.services = to;
    return model::difference(before, after);
}

}  // namespace

Services::Services(Settings settings, store::Database& database, source::Source* source)
    : settings_(std::move(settings)),
      database_(database),
      source_(source),
      drains_(database),
      allocation_(database, settings_) {}

void Services::use(reconcile::Reconciler& reconciler, std::function<AttachedPods()> pods) {
    reconciler_ = &reconciler;
    pods_ = std::move(pods);
}

void Services::start(std::chrono::milliseconds patience) {
    if (source_ == nullptr) return;
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
    source_->start([this](source::SnapshotPtr snapshot) {
        const std::scoped_lock lock(mutex_);
        arrived_ = std::move(snapshot);
        ++wakes_;
        bell_.notify_all();
    });
    std::unique_lock lock(mutex_);
    if (!bell_.wait_for(lock, patience, [&] { return view_.snapshot != nullptr; }))
        spdlog::warn("services are still not compiled after {} ms; the rest does not wait for them",
                     patience.count());
}

void Services::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stopped_ = true;
        bell_.notify_all();
    }
    if (source_ != nullptr) source_->stop();
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

void Services::wake() {
    const std::scoped_lock lock(mutex_);
    ++wakes_;
    bell_.notify_all();
}

bool Services::settle(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    const auto target = ++wakes_;
    bell_.notify_all();
    // Before the first picture nothing is worked on, and nothing is in force that could be outdated.
    return bell_.wait_for(lock, patience, [&] {
        return settled_ >= target || stopped_ || (view_.snapshot == nullptr && arrived_ == nullptr);
    });
}

void Services::wait_for_news(std::chrono::milliseconds most) const {
    std::unique_lock lock(mutex_);
    const auto before = settled_;
    bell_.wait_for(lock, most, [&] { return settled_ != before || stopped_; });
}

bool Services::stopped() const {
    const std::scoped_lock lock(mutex_);
    return stopped_;
}

void Services::run(const std::stop_token& stopping) {
    source::SnapshotPtr latest;
    std::uint64_t wakes = 0;
    while (!stopping.stop_requested()) {
        {
            std::unique_lock lock(mutex_);
            bell_.wait(lock, stopping,
                       [&] { return arrived_ != nullptr || (wakes_ != wakes && latest != nullptr); });
            wakes = wakes_;
            if (arrived_ != nullptr) latest = std::exchange(arrived_, nullptr);
        }
        if (stopping.stop_requested()) return;
        try {
            update(latest);
        } catch (const std::exception& error) {
            spdlog::error("services stay as they were: {}", error.what());
        }
        const std::scoped_lock lock(mutex_);
        settled_ = wakes;
        bell_.notify_all();
    }
}

/// In force; before anything is known of that, what is wanted.
model::Config Services::configuration() const {
    if (reconciler_->status().comparisons > 0) return reconciler_->in_force();
    store::Transaction tx(database_);
    return reconciler_->contributions(tx).back().second;
}

Here Services::look_around(const kubernetes::Objects& objects) const {
    Here around;
    const auto config = configuration();
    const auto outer = outer_interfaces(config);
    for (const auto& [name, interface] : config.interfaces) {
        if (interface.vrf != settings_.vrf || !interface.up) continue;
        for (const auto& own : interface.addresses) {
            const auto covers = [&](const Prefix& network) { return network.contains(own.address); };
            const bool chosen = settings_.node_port_networks.empty()
                                    ? outer.contains(name)
                                    : std::ranges::any_of(settings_.node_port_networks, covers);
            if (chosen && !own.address.is_link_local()) around.node_addresses.push_back(own.address);
            if (!outer.contains(name)) around.local_networks.push_back({own.network(), own.length});
        }
    }
    const auto node = objects.nodes.find(settings_.node_name);
    if (node != objects.nodes.end()) around.zone = node->second->zone;
    around.pods = pods_();
    around.drained = drains_.list();
    return around;
}

/// Whose compilation may come out differently now.
std::set<ObjectName> Services::touched(const kubernetes::Objects& now, const Here& around) const {
    std::set<ObjectName> names;
    const bool all = !(objects_.nodes == now.nodes) || around.node_addresses != around_->node_addresses ||
                     around.local_networks != around_->local_networks || around.zone != around_->zone;
    // What was refused may be possible now that others have changed.
    for (const auto& [name, faults] : view().faults)
        names.insert(name);
    if (all) {
        for (const auto* services : {&objects_.services, &now.services}) {
            for (const auto& [name, service] : *services)
                names.insert(names.end(), name);
        }
    }
    const auto add = [&](const auto& from, const auto& to, const auto& name_of) {
        std::decay_t<decltype(from)>::differences(from, to, [&](const auto& key, const auto&, const auto&) {
            names.insert(name_of(key));
            return true;
        });
    };
    add(objects_.services, now.services, [](const ObjectName& name) { return name; });
    add(objects_.slices, now.slices, [](const kubernetes::EndpointSliceKey& key) {
        return ObjectName{key.namespace_, key.service};
    });
    std::set<std::string> spaces;
    decltype(kubernetes::Objects::pods)::differences(objects_.pods, now.pods,
                                                     [&](const ObjectName& name, const auto&, const auto&) {
                                                         spaces.insert(name.namespace_);
                                                         return true;
                                                     });
    for (const auto* pods : {&around.pods, &around_->pods}) {
        const auto& other = pods == &around.pods ? around_->pods : around.pods;
        for (const auto& [name, pod] : *pods) {
            const auto found = other.find(name);
            if (found == other.end() || found->second != pod) spaces.insert(name.namespace_);
        }
    }
    for (const auto* drained : {&around.drained, &around_->drained}) {
        const auto& other = drained == &around.drained ? around_->drained : around.drained;
        for (const auto& one : *drained) {
            if (!other.contains(one)) names.insert(one.first);
        }
    }
    for (const auto& space : spaces) {
        for (auto it = now.services.lower_bound({space, ""});
             it != now.services.end() && it->first.namespace_ == space; ++it) {
            if (it->second->selector) names.insert(it->first);
        }
    }
    return names;
}

/// What is allocated comes before what is asked for by hand: nobody takes another one's ClusterIP or node
/// port by naming it.
ObjectName Services::holder_of(const IpAddress& address, model::Transport protocol, std::uint16_t port,
                               const Here& around) const {
    if (const auto* holder = allocation_.holder(address)) return *holder;
    const auto* at_node = allocation_.holder(protocol, port);
    const bool is_node = std::ranges::find(around.node_addresses, address) != around.node_addresses.end();
    if (at_node != nullptr && is_node) return *at_node;
    const auto* asking = external_places_.holder({address, protocol, port});
    return asking == nullptr ? ObjectName{} : *asking;
}

/// Those that ask by hand for places at addresses that the service has by allocation.
std::set<ObjectName> Services::disturbed(const Allocated& allocated, const kubernetes::Service& service,
                                         const Surroundings& around) const {
    std::set<ObjectName> others;
    const auto add = [&](const IpAddress& address) { others.merge(external_places_.asking(address)); };
    std::ranges::for_each(allocated.cluster_ips, add);
    const bool at_node = std::ranges::any_of(allocated.node_ports, [](auto port) { return port != 0; });
    if (at_node) std::ranges::for_each(around.here.node_addresses, add);
    others.erase(key_of(service));
    return others;
}

std::set<ObjectName> Services::compile_one(const ObjectName& name, const kubernetes::Objects& objects,
                                           const Surroundings& around, View& next) {
    for (auto it = next.compiled.lower_bound({name.namespace_, name.name, ""});
         it != next.compiled.end() && std::get<0>(it->first) == name.namespace_ &&
         std::get<1>(it->first) == name.name;) {
        const auto key = it->first;
        next.compiled.erase(key);
        it = next.compiled.lower_bound(key);
    }
    const auto told = next.faults.find(name);
    const auto before = told == next.faults.end() ? std::vector<Fault>{} : told->second;
    next.faults.erase(name);
    std::erase_if(next.health_checks, [&](const auto& entry) { return entry.second.service == name; });
    const auto found = objects.services.find(name);
    if (found == objects.services.end()) return {};
    std::vector<Fault> faults;
    const auto& service = found->second;
    const bool has_address = service->type != kubernetes::ServiceType::external_name && !service->headless;
    if (!has_address) allocation_.release(name);
    const auto allocated = has_address ? allocation_.allocate(service, faults) : Allocated{};
    // Of a dual-stack service each endpoint has two addresses.
    std::array<std::set<IpAddress>, 2> local;
    for (auto& one : compile(service, allocated, around, faults)) {
        for (const auto& backend : one.backends) {
            if (backend.local && !backend.draining)
                local[backend.address.is_v4() ? 1 : 0].insert(backend.address);
        }
        const auto key = model::ServiceKey(one.key());
        next.compiled.insert_or_assign(key, std::move(one));
    }
    if (allocated.health_check_port != 0)
        next.health_checks[allocated.health_check_port] = {name, std::max(local[0].size(), local[1].size())};
    for (const auto& fault : faults) {
        if (std::ranges::find(before, fault) == before.end())
            spdlog::warn("{} ({}): {}", fault.object, fault.where, fault.reason);
    }
    if (!faults.empty()) next.faults[name] = std::move(faults);
    return disturbed(allocated, *service, around);
}

void Services::update(const source::SnapshotPtr& snapshot) {
    const auto& objects = snapshot->objects;
    const auto around = std::make_shared<const Here>(look_around(objects));
    auto names = touched(objects, *around);
    for (const auto& name : std::set<ObjectName>(names)) {
        const auto found = objects.services.find(name);
        names.merge(external_places_.ask(name, found == objects.services.end() ? nullptr : &*found->second));
    }
    auto next = view();
    const auto before = next.compiled;
    next.snapshot = snapshot;
    next.here = around;
    const Surroundings surroundings{
        settings_, objects, *around,
        [&](const IpAddress& address, model::Transport protocol, std::uint16_t port) {
            return holder_of(address, protocol, port, *around);
        }};
    // Whoever goes or asks for something else gives up what it has first, and who asks for an address or a
    // port gets it before those that take any.
    for (const auto& name : names) {
        const auto found = objects.services.find(name);
        if (found == objects.services.end()) {
            allocation_.release(name);
        } else {
            allocation_.give_way(found->second);
        }
    }
    std::set<ObjectName> again;
    for (const bool asking : {true, false}) {
        for (const auto& name : names) {
            const auto found = objects.services.find(name);
            const bool asks = found != objects.services.end() && asks_for_places(*found->second);
            if (asks == asking) again.merge(compile_one(name, objects, surroundings, next));
        }
    }
    for (const auto& name : again)
        compile_one(name, objects, surroundings, next);
    allocation_.save();
    objects_ = objects;
    around_ = around;
    auto change = change_between(before, next.compiled);
    const auto health_checks = next.health_checks;
    const bool other_checks = health_checks != view().health_checks;
    const bool claimed = claims();
    {
        const std::scoped_lock lock(mutex_);
        view_ = std::move(next);
        bell_.notify_all();
    }
    if (other_checks) health_check_server_.set(health_checks);
    leave_configured(change);
    if (!change.empty()) bring_into_force(change);
    if (snapshot->trouble.empty()) forget_drains(surroundings);
    // The ranges' routes come and go with a comparison.
    if (claims() != claimed) reconciler_->wake();
}

/// Of endpoints that are gone. The next compilation finds nothing of them.
void Services::forget_drains(const Surroundings& around) {
    for (const auto& [name, address] : around.here.drained) {
        const auto service = around.objects.services.find(name);
        bool there = false;
        std::vector<Fault> ignored;
        for (const auto& port : service == around.objects.services.end()
                                    ? std::vector<kubernetes::ServicePort>()
                                    : service->second->ports) {
            there = there || std::ranges::any_of(endpoints_of(service->second, port, around, ignored),
                                                 [&](const EndpointState& state) {
                                                     return state.backend.address == address;
                                                 });
        }
        if (there || !drains_.erase(name, address)) continue;
        spdlog::info("service {}: its endpoint {} is gone, and with it that it was drained", to_string(name),
                     address.to_string());
    }
}

/// What people configured comes before what manifests say.
void Services::leave_configured(model::Change& change) {
    if (change.empty()) return;
    store::Transaction tx(database_);
    for (const auto& [key, service] : store::present_config(tx)->services) {
        change.put.services.erase(key);
        change.delete_services.erase(key);
    }
}

void Services::bring_into_force(const model::Change& change) {
    spdlog::debug("services: {} put, {} deleted", change.put.services.size(), change.delete_services.size());
    try {
        reconciler_->apply(change);
    } catch (const http::Unreachable& error) {
        spdlog::debug("services are in force when the dataplane is back: {}", error.what());
    } catch (const Refused& refused) {
        spdlog::error("services: {}; the rest of them is in force", refused.what());
        reconciler_->wake();
    }
}

bool Services::claims() const {
    if (source_ == nullptr || settings_.always_claims) return source_ != nullptr;
    const std::scoped_lock lock(mutex_);
    return view_.snapshot != nullptr && !view_.snapshot->objects.services.empty();
}

Faults Services::overlaps(const model::Config& config) const {
    Faults faults;
    for (const auto& range : settings_.ranges) {
        for (const auto& [name, interface] : config.interfaces) {
            if (interface.vrf != settings_.vrf) continue;
            for (const auto& own : interface.addresses) {
                if (!range.overlaps({own.network(), own.length}) || own.address.is_link_local()) continue;
                faults.push_back({"interfaces/" + name + "/addresses",
                                  "name " + own.to_string() +
                                      ", whose network overlaps the services' range " + range.to_string() +
                                      "; take another network"});
            }
        }
    }
    return faults;
}

void Services::contribute(store::Transaction&, model::Config& desired, Faults& faults) const {
    if (!claims()) return;
    const auto overlapping = overlaps(desired);
    faults.insert(faults.end(), overlapping.begin(), overlapping.end());
    for (const auto& range : settings_.ranges) {
        // An address of the range that no service has, or a port that it has not, is refused at once.
        model::Route route;
        route.vrf = settings_.vrf;
        route.prefix = range;
        route.kind = model::RouteKind::unreachable;
        desired.routes.emplace(model::key_of(route), route);
    }
    const std::scoped_lock lock(mutex_);
    // Those of manifests are shared with the view, and what is configured, which is little, is put among
    // them.
    const auto configured = std::exchange(desired.services, view_.compiled);
    for (const auto& [key, service] : configured) {
        if (desired.services.contains(key))
            faults.push_back(
                {"services/" + std::get<0>(key) + "/" + std::get<1>(key) + "/" + std::get<2>(key),
                 "is configured already, and a manifest has it, too; delete one of them"});
        desired.services.insert_or_assign(key, service);
    }
}

View Services::view() const {
    const std::scoped_lock lock(mutex_);
    return view_;
}

std::string Services::source_name() const {
    return source_ == nullptr ? "" : source_->name();
}

std::string Services::trouble() const {
    return source_ == nullptr ? "" : source_->trouble();
}

}  // namespace viaduct::service

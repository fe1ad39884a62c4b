#include "service/waiting.h"

#include <algorithm>
#include <utility>

#include <json/json.h>

#include "viaduct/json.h"

#include "service/lookup.h"

namespace viaduct::service {

namespace {

using kubernetes::ObjectKind;
using kubernetes::ObjectName;
using source::Applying;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Between two looks, where nobody says that there is something new.
constexpr milliseconds kLook{50};

template <typename Map, typename Key>
bool same(const Map& a, const Map& b, const Key& key) {
    const auto in_a = a.find(key);
    const auto in_b = b.find(key);
    if (in_a == a.end() || in_b == b.end()) return (in_a == a.end()) == (in_b == b.end());
    return in_a->second == in_b->second;
}

/// An Endpoints is the slices that were read out of it.
std::vector<kubernetes::Stored<kubernetes::EndpointSlice>> subsets_of(const kubernetes::Objects& objects,
                                                                      const ObjectName& service) {
    std::vector<kubernetes::Stored<kubernetes::EndpointSlice>> subsets;
    for (auto it = objects.slices.lower_bound({service.namespace_, service.name, {}});
         it != objects.slices.end() && it->first.namespace_ == service.namespace_ &&
         it->first.service == service.name;
         ++it) {
        if (it->second->from_endpoints) subsets.push_back(it->second);
    }
    return subsets;
}

bool is_all_of(const std::vector<const model::Service*>& compiled, const ObjectName& name,
               const model::Config& in_force) {
    auto it = in_force.services.lower_bound({name.namespace_, name.name, ""});
    for (const auto* one : compiled) {
        if (it == in_force.services.end() || it->second != *one) return false;
        ++it;
    }
    return it == in_force.services.end() || std::get<0>(it->first) != name.namespace_ ||
           std::get<1>(it->first) != name.name;
}

}  // namespace

/// An object that is waited for, and the services that its manifests name or named.
struct Waiting::Watched {
    kubernetes::ObjectId id;
    bool deleted = false;
    std::set<std::string> services;
};

/// How it stands with an object: nothing is wrong, something is still to come, or it will not come.
struct Waiting::Standing {
    enum class Is : std::uint8_t { in_force, to_come, refused } is = Is::in_force;
    std::string reason;
};

Waiting::Watched Waiting::watched(const Applying& one) const {
    Watched watched{one.id, one.after.empty(), {}};
    if (one.id.kind == ObjectKind::service || one.id.kind == ObjectKind::endpoints)
        watched.services.insert(one.id.name);
    if (one.id.kind != ObjectKind::endpoint_slice) return watched;
    for (const auto& text : {one.before, one.after}) {
        if (text.empty()) continue;
        const auto manifest = parse_json(text, "a manifest");
        watched.services.insert(
            manifest["metadata"]["labels"][std::string(kubernetes::kServiceNameLabel)].asString());
    }
    return watched;
}

/// Whether services know of the object what was applied, or what was applied after it.
bool Waiting::is_read(const Watched& one, const View& view) const {
    const auto applied = applied_.latest();
    if (applied == nullptr || view.snapshot == nullptr) return false;
    const auto& wanted = applied->objects;
    const auto& known = view.snapshot->objects;
    const auto& [kind, space, name] = std::tie(one.id.kind, one.id.namespace_, one.id.name);
    switch (kind) {
        case ObjectKind::service:
            return same(wanted.services, known.services, ObjectName{space, name});
        case ObjectKind::endpoint_slice:
            return std::ranges::all_of(one.services, [&](const auto& service) {
                return same(wanted.slices, known.slices, kubernetes::EndpointSliceKey{space, service, name});
            });
        case ObjectKind::endpoints:
            return subsets_of(wanted, {space, name}) == subsets_of(known, {space, name});
        case ObjectKind::pod:
            return same(wanted.pods, known.pods, ObjectName{space, name});
        case ObjectKind::node:
            return same(wanted.nodes, known.nodes, name);
    }
    return true;
}

/// Those that it may have changed.
std::set<ObjectName> Waiting::services_of(const Watched& one, const View& view) const {
    std::set<ObjectName> names;
    for (const auto& service : one.services)
        names.insert({one.id.namespace_, service});
    const bool pod = one.id.kind == ObjectKind::pod;
    if (!pod && one.id.kind != ObjectKind::node) return names;
    for (const auto& [name, service] : view.snapshot->objects.services) {
        if (!pod || (name.namespace_ == one.id.namespace_ && service->selector)) names.insert(name);
    }
    return names;
}

Waiting::Standing Waiting::standing_of(const ObjectName& service, const View& view,
                                       const model::Config& in_force) {
    const auto compiled = compiled_of(view, service);
    if (is_all_of(compiled, service, in_force)) return {};
    const auto status = reconciler_.status();
    if (!status.connected) return {Standing::Is::to_come, "the dataplane is away: " + status.reason};
    // What is left out is told by the next comparison that begins after now: the one under way may have begun
    // before.
    if (told_from_ == 0) told_from_ = status.comparisons + 2;
    reconciler_.wake();
    if (status.comparisons >= told_from_) {
        // What is there all the same is somebody else's, who configured it.
        if (compiled.empty()) return {};
        for (const auto* one : compiled) {
            const auto found = status.left_out.find("services/" + to_string(service) + "/" + one->port);
            if (found != status.left_out.end())
                return {Standing::Is::refused, "port " + one->port + ": " + found->second};
        }
    }
    return {Standing::Is::to_come, "the dataplane has not taken it yet"};
}

Waiting::Standing Waiting::standing_of(const Watched& one, const View& view, const model::Config& in_force) {
    if (!is_read(one, view)) {
        const auto holder = sources_.holder(one.id);
        const bool elsewhere = holder && holder->source != &applied_;
        if (elsewhere && !one.deleted)
            return {Standing::Is::refused,
                    "it is described at " + to_string(holder->origin) + ", too, which counts"};
        if (!elsewhere) {
            const auto trouble = services_.trouble();
            return {Standing::Is::to_come,
                    "manifests are still being read" + (trouble.empty() ? "" : ": " + trouble)};
        }
    }
    for (const auto& service : services_of(one, view)) {
        const bool itself = one.id.kind == ObjectKind::service;
        const auto about = itself ? std::string() : "service " + to_string(service) + ": ";
        // A fault of a service is no pod's or node's.
        const auto faults = one.services.empty() ? view.faults.end() : view.faults.find(service);
        if (faults != view.faults.end() && !one.deleted)
            return {Standing::Is::refused, about + faults->second.front().reason};
        auto standing = standing_of(service, view, in_force);
        if (standing.is == Standing::Is::in_force) continue;
        standing.reason = about + standing.reason;
        return standing;
    }
    return {};
}

std::vector<NotInForce> Waiting::wait(const std::vector<Applying>& all, milliseconds patience) {
    const auto deadline = Clock::now() + patience;
    std::vector<Watched> left;
    for (const auto& one : all) {
        if (one.outcome != Applying::Outcome::absent) left.push_back(watched(one));
    }
    for (;;) {
        const auto view = services_.view();
        std::vector<NotInForce> open;
        bool to_come = view.snapshot == nullptr;
        if (view.snapshot == nullptr) {
            for (const auto& one : left)
                open.push_back({one.id, "manifests are still being read: " + services_.trouble()});
        } else {
            const auto in_force = reconciler_.in_force();
            for (const auto& one : left) {
                auto standing = standing_of(one, view, in_force);
                if (standing.is == Standing::Is::in_force) continue;
                to_come = to_come || standing.is == Standing::Is::to_come;
                open.push_back({one.id, std::move(standing.reason)});
            }
        }
        const auto now = Clock::now();
        if (!to_come || now >= deadline || services_.stopped()) return open;
        services_.wait_for_news(std::min(kLook, std::chrono::ceil<milliseconds>(deadline - now)));
    }
}

}  // namespace viaduct::service

// Claims by object, settled when one of them has changed.
#include "source/precedence.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace viaduct::source {

namespace {

using kubernetes::AnyObject;
using kubernetes::ObjectId;
using kubernetes::ObjectKind;
using kubernetes::Stored;

ObjectId id_of(const kubernetes::Service& service) {
    return {ObjectKind::service, service.meta.namespace_, service.meta.name};
}
ObjectId id_of(const kubernetes::EndpointSlice& slice) {
    if (slice.from_endpoints) return {ObjectKind::endpoints, slice.meta.namespace_, slice.service};
    return {ObjectKind::endpoint_slice, slice.meta.namespace_, slice.meta.name};
}
ObjectId id_of(const kubernetes::Pod& pod) {
    return {ObjectKind::pod, pod.meta.namespace_, pod.meta.name};
}
ObjectId id_of(const kubernetes::Node& node) {
    return {ObjectKind::node, {}, node.meta.name};
}
ObjectId id_of(const AnyObject& object) {
    return std::visit([](const auto& stored) { return id_of(*stored); }, object);
}

/// Two that lie at one place in Objects.
bool same_key(const AnyObject& a, const AnyObject& b) {
    return std::visit(
        [](const auto& left, const auto& right) {
            if constexpr (std::is_same_v<decltype(left), decltype(right)>) {
                return key_of(*left) == key_of(*right);
            } else {
                return false;
            }
        },
        a, b);
}

const kubernetes::Origin& origin_of(const AnyObject& object) {
    return std::visit(
        [](const auto& stored) -> const auto& { return stored.origin(); }, object);
}

bool empty(const kubernetes::Objects& objects) {
    return objects.services.empty() && objects.slices.empty() && objects.pods.empty() &&
           objects.nodes.empty();
}

}  // namespace

Precedence::Precedence(std::vector<std::string> sources)
    : names_(std::move(sources)), snapshots_(names_.size()) {}

template <typename Map>
void Precedence::note_differences(std::size_t source, const Map& from, const Map& to) {
    using Key = typename Map::key_type;
    using Value = typename Map::mapped_type;
    Map::differences(from, to, [&](const Key&, const Value* before, const Value* after) {
        if (before != nullptr) disclaim(source, *before);
        if (after != nullptr) claim(source, *after);
        return true;
    });
}

void Precedence::update(std::size_t source, const SnapshotPtr& snapshot) {
    const Snapshot nothing;
    const auto before = std::exchange(snapshots_[source], snapshot);
    const auto& from = before == nullptr ? nothing : *before;
    note_differences(source, from.objects.services, snapshot->objects.services);
    note_differences(source, from.objects.slices, snapshot->objects.slices);
    note_differences(source, from.objects.pods, snapshot->objects.pods);
    note_differences(source, from.objects.nodes, snapshot->objects.nodes);
    using Faults = std::vector<kubernetes::DocumentFault>;
    decltype(Snapshot::faults)::differences(from.faults, snapshot->faults,
                                            [&](const std::string& file, const Faults*, const Faults*) {
                                                files_touched_.insert(file);
                                                return true;
                                            });
}

void Precedence::claim(std::size_t source, const AnyObject& object) {
    const auto id = id_of(object);
    auto& claims = claims_[id].claims;
    auto place = std::find_if(claims.begin(), claims.end(),
                              [&](const Claim& claim) { return claim.source >= source; });
    if (place == claims.end() || place->source != source) place = claims.insert(place, Claim{source, {}});
    place->objects.push_back(object);
    touched_.insert(id);
}

void Precedence::disclaim(std::size_t source, const AnyObject& object) {
    const auto id = id_of(object);
    auto& claims = claims_[id].claims;
    for (auto& claim : claims) {
        if (claim.source != source) continue;
        std::erase_if(claim.objects, [&](const AnyObject& one) { return same_key(one, object); });
    }
    std::erase_if(claims, [](const Claim& claim) { return claim.objects.empty(); });
    touched_.insert(id);
}

void Precedence::settle(const ObjectId& id) {
    const auto found = claims_.find(id);
    auto& claims = found->second;
    tell_faults(id, claims);
    for (const auto& object : claims.in_force)
        kubernetes::erase(now_.objects, object);
    if (claims.claims.empty()) {
        claims_.erase(found);
        return;
    }
    claims.in_force = claims.claims.front().objects;
    for (const auto& object : claims.in_force)
        kubernetes::put(now_.objects, object);
}

/// That of all but the first nothing is heard.
void Precedence::tell_faults(const ObjectId& id, Claims& claims) {
    for (const auto& file : std::exchange(claims.files, {})) {
        const auto found = unheard_.find(file);
        found->second.erase(id);
        if (found->second.empty()) unheard_.erase(found);
        files_touched_.insert(file);
    }
    for (std::size_t at = 1; at < claims.claims.size(); ++at) {
        const auto& first = claims.claims.front();
        const auto& origin = origin_of(claims.claims[at].objects.front());
        unheard_[*origin.file][id] = {origin.file,
                                      origin.line,
                                      to_string(id),
                                      {},
                                      "is described at " + to_string(origin_of(first.objects.front())) +
                                          " (" + names_[first.source] +
                                          ") too, which counts; take one of both away"};
        claims.files.insert(*origin.file);
        files_touched_.insert(*origin.file);
    }
}

void Precedence::gather_faults(const std::string& file) {
    std::vector<kubernetes::DocumentFault> all;
    for (const auto& snapshot : snapshots_) {
        if (snapshot == nullptr) continue;
        const auto found = snapshot->faults.find(file);
        if (found != snapshot->faults.end())
            all.insert(all.end(), found->second.begin(), found->second.end());
    }
    const auto unheard = unheard_.find(file);
    if (unheard != unheard_.end()) {
        for (const auto& [id, fault] : unheard->second)
            all.push_back(fault);
    }
    if (all.empty()) {
        now_.faults.erase(file);
    } else {
        now_.faults.insert_or_assign(file, std::move(all));
    }
}

Snapshot Precedence::snapshot() {
    for (const auto& id : std::exchange(touched_, {}))
        settle(id);
    for (const auto& file : std::exchange(files_touched_, {}))
        gather_faults(file);
    now_.files = now_.documents = now_.passed_over = 0;
    std::optional<std::chrono::system_clock::time_point> oldest;
    std::vector<const Snapshot*> with_objects;
    for (const auto& snapshot : snapshots_) {
        if (snapshot == nullptr) continue;
        now_.files += snapshot->files;
        now_.documents += snapshot->documents;
        now_.passed_over += snapshot->passed_over;
        oldest = oldest ? std::min(*oldest, snapshot->read_at) : snapshot->read_at;
        if (!empty(snapshot->objects)) with_objects.push_back(snapshot.get());
    }
    now_.read_at = oldest.value_or(std::chrono::system_clock::time_point{});
    // One source's alone are shared with it, down to the lines that its objects stand at.
    if (with_objects.size() == 1) now_.objects = with_objects.front()->objects;
    return now_;
}

std::optional<Precedence::Holder> Precedence::holder(const ObjectId& id) const {
    const auto found = claims_.find(id);
    if (found == claims_.end() || found->second.claims.empty()) return std::nullopt;
    const auto& first = found->second.claims.front();
    return Holder{first.source, origin_of(first.objects.front())};
}

}  // namespace viaduct::source

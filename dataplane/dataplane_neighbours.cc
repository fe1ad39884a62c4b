// Neighbours for people: what they ask, and what the log tells them.
#include <spdlog/spdlog.h>

#include "dataplane_state.h"
#include "neighbour_state.h"

namespace viaduct::dataplane {

namespace {

std::map<InterfaceIndex, std::string> names_of(const InterfacePlaces& places) {
    std::map<InterfaceIndex, std::string> names;
    for (const auto& [name, index] : places)
        names.emplace(index, name);
    return names;
}

}  // namespace

void Dataplane::tell_duplicates() {
    auto& s = *state_;
    const auto duplicates = s.flows.shared().neighbours.take_duplicates();
    if (duplicates.empty()) return;
    const auto names = names_of(s.interface_places);
    const auto now = s.crew.now.load(std::memory_order_relaxed);
    for (const auto& duplicate : duplicates) {
        const auto name = names.find(duplicate.key.interface);
        // The first of a second stands for all: the counter has the rest.
        if (name == names.end() || now == s.duplicates_told_at) continue;
        s.duplicates_told_at = now;
        spdlog::warn("{} claims {}, an address of interface {}", duplicate.claimer.to_string(),
                     duplicate.key.address.to_string(), name->second);
    }
}

void Dataplane::visit_neighbours(const NeighbourFilter& filter,
                                 const std::function<void(const NeighbourEntry&)>& visit) const {
    std::map<InterfaceIndex, std::string> names;
    std::uint32_t now = 0;
    {
        const std::scoped_lock lock(state_->mutex);
        if (filter.interface && !state_->interface_places.contains(*filter.interface))
            throw Refused("interface", "\"" + *filter.interface + "\" does not exist");
        names = names_of(state_->interface_places);
        now = state_->crew.now.load(std::memory_order_relaxed);
    }
    state_->flows.shared().neighbours.visit([&](const Neighbours::Listed& listed) {
        const auto name = names.find(listed.key.interface);
        if (name == names.end() || (filter.interface && *filter.interface != name->second)) return;
        if (filter.address && *filter.address != listed.key.address) return;
        const auto age = listed.confirmed == 0 || now < listed.confirmed ? 0 : now - listed.confirmed;
        visit({name->second, listed.key.address, listed.seen.mac, listed.seen.state, age, listed.waiting});
    });
}

std::uint64_t Dataplane::flush_neighbours(const NeighbourFilter& filter) {
    const std::scoped_lock lock(state_->mutex);
    std::optional<InterfaceIndex> index;
    if (filter.interface) {
        const auto place = state_->interface_places.find(*filter.interface);
        if (place == state_->interface_places.end())
            throw Refused("interface", "\"" + *filter.interface + "\" does not exist");
        index = place->second;
    }
    return state_->flows.shared().neighbours.remove_if([&](const NeighbourKey& key) {
        return (!index || key.interface == *index) && (!filter.address || key.address == *filter.address);
    });
}

NeighbourSums Dataplane::neighbour_sums() const {
    const auto& neighbours = state_->flows.shared().neighbours;
    return {neighbours.entries(), neighbours.held(), neighbours.limits().entries, neighbours.counters()};
}

}  // namespace viaduct::dataplane

// Even shares by keeping, placing and then levelling.
#include "worker/spread.h"

#include <algorithm>

namespace viaduct::dataplane {

namespace {

std::uint16_t least_loaded(const std::vector<unsigned>& load, const std::vector<bool>& avoided) {
    std::size_t best = 0;
    for (std::size_t w = 1; w < load.size(); ++w) {
        const auto key = [&](std::size_t i) {
            return std::make_pair(load[i], static_cast<bool>(avoided[i]));
        };
        if (key(w) < key(best)) best = w;
    }
    return static_cast<std::uint16_t>(best);
}

/// Moves queues from the fullest worker to the emptiest until they differ by at most one.
void level(Ownership& owners, std::vector<unsigned>& load) {
    for (;;) {
        const auto least = std::min_element(load.begin(), load.end());
        const auto most = std::max_element(load.begin(), load.end());
        if (*most - *least <= 1) return;
        const auto from = static_cast<std::uint16_t>(most - load.begin());
        // The last queue moves: what has been there longest stays.
        const auto moved =
            std::find_if(owners.rbegin(), owners.rend(), [&](const auto& o) { return o.second == from; });
        moved->second = static_cast<std::uint16_t>(least - load.begin());
        --*most;
        ++*least;
    }
}

}  // namespace

Ownership spread(const std::vector<QueueCount>& ports, const Ownership& before, std::uint16_t workers) {
    Ownership owners;
    std::vector<unsigned> load(workers, 0);
    std::vector<QueueId> homeless;
    for (const auto& port : ports) {
        for (std::uint16_t queue = 0; queue < port.queues; ++queue) {
            const QueueId id{port.index, queue};
            const auto kept = before.find(id);
            if (kept != before.end() && kept->second < workers) {
                owners.emplace(id, kept->second);
                ++load[kept->second];
            } else {
                homeless.push_back(id);
            }
        }
    }
    for (const auto& id : homeless) {
        std::vector<bool> siblings(workers, false);
        for (auto it = owners.lower_bound({id.first, 0}); it != owners.end() && it->first.first == id.first;
             ++it) {
            siblings[it->second] = true;
        }
        const auto owner = least_loaded(load, siblings);
        owners.emplace(id, owner);
        ++load[owner];
    }
    level(owners, load);
    return owners;
}

}  // namespace viaduct::dataplane

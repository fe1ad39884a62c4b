// Pure functions over configurations and the list of kinds; the reconciler drives them.
#include "reconcile/leave_out.h"

#include <string_view>

#include "viaduct/model_kinds.h"

namespace viaduct::reconcile {

namespace {

/// True when `target` changed.
template <typename Map, typename Key>
bool leave_out_of(Map& target, const Map& in_force, const Key& key, bool again) {
    const auto wanted = target.find(key);
    const auto present = in_force.find(key);
    if (present == in_force.end()) return wanted != target.end() && target.erase(key) > 0;
    if (wanted != target.end() && wanted->second == present->second) return again && target.erase(key) > 0;
    target.insert_or_assign(key, present->second);
    return true;
}

bool leave_out_object(model::Config& target, const model::Config& in_force, const std::string& object,
                      bool again) {
    bool changed = false;
    model::for_each_kind([&](const auto& kind) {
        if (const auto key = model::key_from_place(kind, object))
            changed = leave_out_of(target.*kind.objects, in_force.*kind.objects, *key, again);
    });
    return changed;
}

template <typename KindType>
void add_deletes(const KindType& kind, const model::Change& change, std::vector<Step>& steps) {
    for (const auto& key : change.*kind.deleted)
        steps.push_back(
            {place_of(kind, key), [&kind, &key](model::Change& step) { (step.*kind.deleted).insert(key); }});
}

template <typename KindType>
void add_puts(const KindType& kind, const model::Change& change, std::vector<Step>& steps) {
    for (const auto& [key, object] : change.put.*kind.objects)
        steps.push_back({place_of(kind, key), [&kind, &key = key, &object = object](model::Change& step) {
                             (step.put.*kind.objects).emplace(key, object);
                         }});
}

}  // namespace

std::string object_of(const std::string& where) {
    std::string_view place = where;
    for (const std::string_view front : {"/", "put/", "delete/"}) {
        if (place.starts_with(front)) place.remove_prefix(front.size());
    }
    std::string object;
    model::for_each_kind([&](const auto& kind) {
        if (const auto key = model::key_from_place(kind, place)) object = model::place_of(kind, *key);
    });
    return object;
}

bool leave_out(model::Config& target, const model::Config& in_force, const Faults& faults,
               LeftOut& left_out) {
    bool changed = false;
    std::map<std::string, std::string> named;  // several faults may speak of one object
    for (const auto& fault : faults) {
        const auto object = object_of(fault.where);
        if (object.empty()) continue;
        auto& reason = named[object];
        reason += (reason.empty() ? "" : "; ") + to_string(Faults{fault});
    }
    for (const auto& [object, reason] : named) {
        const bool again = left_out.contains(object);
        if (!leave_out_object(target, in_force, object, again)) continue;
        left_out[object] = reason;
        changed = true;
    }
    return changed;
}

std::vector<Step> one_by_one(const model::Change& change) {
    std::vector<Step> steps;
    // What others refer to goes last, when those that stay have let go of it; the rest makes room first.
    model::for_each_kind_backwards([&](const auto& kind) {
        if (!kind.referred) add_deletes(kind, change, steps);
    });
    model::for_each_kind([&](const auto& kind) { add_puts(kind, change, steps); });
    model::for_each_kind_backwards([&](const auto& kind) {
        if (kind.referred) add_deletes(kind, change, steps);
    });
    if (!change.put_timeouts.empty()) {
        steps.push_back(
            {"timeouts", [&change](model::Change& step) { step.put_timeouts = change.put_timeouts; }});
    }
    return steps;
}

model::Change without_done(const model::Change& change, const model::Config& in_force) {
    model::Change rest;
    model::for_each_kind([&](const auto& kind) {
        const auto& present = in_force.*kind.objects;
        for (const auto& [key, object] : change.put.*kind.objects) {
            const auto found = present.find(key);
            if (found == present.end() || !(found->second == object))
                (rest.put.*kind.objects).emplace(key, object);
        }
        for (const auto& key : change.*kind.deleted) {
            if (present.contains(key)) (rest.*kind.deleted).insert(key);
        }
    });
    for (const auto& timeout : model::kTimeouts) {
        const auto put = change.put_timeouts.find(timeout.name);
        if (put != change.put_timeouts.end() && in_force.timeouts.*timeout.seconds != put->second)
            rest.put_timeouts.insert(*put);
    }
    return rest;
}

std::string counted(const model::Change& change) {
    std::size_t puts = change.put_timeouts.empty() ? 0 : 1;
    std::size_t deletes = 0;
    model::for_each_kind([&](const auto& kind) {
        puts += (change.put.*kind.objects).size();
        deletes += (change.*kind.deleted).size();
    });
    return std::to_string(puts) + " put, " + std::to_string(deletes) + " deleted";
}

}  // namespace viaduct::reconcile

// A dry run and the real thing share one path: the change is written inside a transaction, the state that
// results is checked, and only the real thing commits.
#include "reconcile/config_changes.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "viaduct/http.h"

#include "store/config_history.h"

namespace viaduct::reconcile {

namespace {

template <typename Map>
void add_all(const Map& from, Map& to, const std::string& kind, Faults& faults) {
    for (const auto& [key, value] : from) {
        if (to.emplace(key, value).second) continue;
        if constexpr (std::is_same_v<typename Map::key_type, std::string>) {
            faults.push_back({kind + key, "has the name of an object of another source"});
        }
    }
}

/// A bridge that ports are on is not deleted, whether people configured them or pods brought them.
void check_bridges_in_use(const model::Change& change, const model::Config& desired, Faults& faults) {
    constexpr std::size_t most_named = 3;
    for (const auto& name : change.delete_bridges) {
        std::string ports;
        std::size_t count = 0;
        for (const auto& [port_name, port] : desired.ports) {
            if (port.bridge != name) continue;
            if (count++ < most_named) ports += (ports.empty() ? "" : ", ") + port_name;
        }
        if (count > most_named) ports += " and " + std::to_string(count - most_named) + " more";
        if (count > 0) {
            faults.push_back(
                {"bridges/" + name, "is in use by ports " + ports + "; delete it when they are gone"});
        } else if (desired.bridges.contains(name)) {
            faults.push_back({"bridges/" + name, "is in use by pods; delete it when they are gone"});
        }
    }
}

void set_links(const SetLink& set_link, const std::map<std::string, model::Port>& ports) {
    for (const auto& [name, port] : ports) {
        try {
            if (set_link) set_link(port);
        } catch (const std::exception& error) {
            spdlog::warn("port {}: {}", name, error.what());
        }
    }
}

}  // namespace

void ConfigSource::contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const {
    const auto config = store::load_config(tx);
    add_all(config.bridges, desired.bridges, "bridges/", faults);
    add_all(config.ports, desired.ports, "ports/", faults);
    add_all(config.fdb, desired.fdb, "fdb/", faults);
}

void ConfigSource::restored(const std::map<std::string, model::Port>& ports) const {
    if (!set_link_) return;
    std::map<std::string, model::Port> configured;
    {
        store::Transaction tx(*database_);
        configured = store::load_config(tx).ports;
    }
    std::erase_if(configured, [&](const auto& item) { return !ports.contains(item.first); });
    set_links(set_link_, configured);
}

ConfigChanges::Planned ConfigChanges::plan(store::Transaction& tx, const Next& next,
                                           const std::string& comment) const {
    Planned planned;
    Faults faults;
    const auto current = store::load_config(tx);
    const auto wanted = next(tx, current, faults);
    if (!faults.empty()) throw Refused(faults);
    planned.outcome.change = model::difference(current, wanted);
    if (planned.outcome.change.empty()) {
        planned.outcome.generation = store::newest_generation(tx);
        return planned;
    }
    // Faults that were there before (a static entry on the port of a pod that left) are no reason to refuse.
    Faults old_faults;
    const auto desired_before = reconciler_.desired(tx, old_faults);
    planned.outcome.generation = store::change_config(tx, current, wanted, comment);
    const auto desired_after = reconciler_.desired(tx, faults);
    Faults in_use;
    check_bridges_in_use(planned.outcome.change, desired_after, in_use);
    // Told alone: each port would say that it misses its bridge.
    if (!in_use.empty()) throw Refused(in_use);
    std::erase_if(faults, [&](const Fault& fault) {
        return std::find(old_faults.begin(), old_faults.end(), fault) != old_faults.end();
    });
    if (!faults.empty()) throw Refused(faults);
    planned.desired = model::difference(desired_before, desired_after);
    return planned;
}

void ConfigChanges::withdraw(std::int64_t generation) const {
    try {
        store::Transaction tx(database_);
        store::withdraw(tx, generation);
        tx.commit();
    } catch (const std::exception& error) {
        spdlog::error("generation {} was refused by the dataplane but stays in the store: {}", generation,
                      error.what());
    }
    // A comparison may have brought some of it into force in between.
    reconciler_.wake();
}

ConfigChanges::Outcome ConfigChanges::make(const Next& next, bool dry_run, const std::string& comment) {
    const std::scoped_lock lock(mutex_);
    Planned planned;
    std::int64_t present = 0;
    {
        store::Transaction tx(database_);
        present = store::newest_generation(tx);
        planned = plan(tx, next, comment);
    }
    try {
        // Asked first, so that what the dataplane will not have is refused before it was ever stored.
        reconciler_.check(planned.desired);
        planned.outcome.applied = true;
    } catch (const http::Unreachable& error) {
        planned.outcome.note = error.what();
    }
    if (dry_run || planned.outcome.change.empty()) {
        planned.outcome.generation = present;
        return planned.outcome;
    }
    {
        store::Transaction tx(database_);
        planned = plan(tx, next, comment);
        tx.commit();
    }
    auto& outcome = planned.outcome;
    spdlog::info("configuration generation {}: {}", outcome.generation,
                 comment.empty() ? "no comment" : comment);
    try {
        reconciler_.apply(planned.desired);
        outcome.applied = true;
        set_links(set_link_, outcome.change.put.ports);
    } catch (const Refused&) {
        withdraw(outcome.generation);
        throw;
    } catch (const http::Unreachable& error) {
        outcome.note = std::string(error.what()) + "; the change is kept and will be applied when it is back";
    }
    return outcome;
}

ConfigChanges::Outcome ConfigChanges::change(const model::Change& change, bool dry_run,
                                             const std::string& comment) {
    return make([&](store::Transaction&, const model::Config& current,
                    Faults& faults) { return model::apply(current, change, faults); },
                dry_run, comment);
}

ConfigChanges::Outcome ConfigChanges::replace(const model::Config& config, bool dry_run,
                                              const std::string& comment) {
    return make([&](store::Transaction&, const model::Config&, Faults&) { return config; }, dry_run, comment);
}

ConfigChanges::Outcome ConfigChanges::rollback(std::int64_t generation, bool dry_run,
                                               const std::string& comment) {
    const auto words = comment.empty() ? "rollback to generation " + std::to_string(generation) : comment;
    return make([&](store::Transaction& tx, const model::Config&,
                    Faults&) { return store::config_at(tx, generation); },
                dry_run, words);
}

}  // namespace viaduct::reconcile

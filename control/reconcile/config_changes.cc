// A dry run and the real thing share one path: the change is made inside a transaction, the state that
// results is checked, and only the real thing writes and commits.
#include "reconcile/config_changes.h"

#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <spdlog/spdlog.h>

#include "viaduct/http.h"
#include "viaduct/model_kinds.h"

#include "store/config_history.h"

namespace viaduct::reconcile {

namespace {

template <typename KindType>
void add_all(const KindType& kind, const model::Config& from, model::Config& to, Faults& faults) {
    auto& objects = to.*kind.objects;
    if (objects.empty()) {
        objects = from.*kind.objects;
        return;
    }
    for (const auto& [key, object] : from.*kind.objects) {
        const auto [there, is_new] = objects.emplace(key, object);
        if (!is_new && !(there->second == object))
            faults.push_back({place_of(kind, key), "has the name of an object of another source"});
    }
}

/// What people must not take away from under others: bridges, VRFs and interfaces in use, whether by what was
/// configured or by what pods brought.
class InUse {
public:
    explicit InUse(const model::Change& change) : change_(change) {}

    void find_users(const model::Config& desired) {
        model::for_each_kind([&](const auto& kind) {
            for (const auto& [key, object] : desired.*kind.objects) {
                model::for_each_reference(object, [&, &key = key](const auto& to, const std::string& name) {
                    if ((change_.*to.deleted).contains(name)) note(place_of(to, name), kind, key);
                });
            }
        });
    }

    void tell(const model::Config& desired, Faults& faults) const {
        model::for_each_kind([&](const auto& kind) {
            if (!kind.referred) return;
            for (const auto& key : change_.*kind.deleted) {
                const auto place = place_of(kind, key);
                if (const auto users = users_.find(place); users != users_.end()) {
                    faults.push_back(
                        {place, "is in use by " + words(users->second) + "; delete it when they are gone"});
                } else if ((desired.*kind.objects).contains(key)) {
                    faults.push_back({place, "is in use by pods; delete it when they are gone"});
                }
            }
        });
    }

private:
    struct Users {
        std::string names;
        std::size_t count = 0;
    };
    static constexpr std::size_t kMostNamed = 3;

    template <typename KindType>
    void note(const std::string& used, const KindType& kind, const typename KindType::Key& key) {
        auto& users = users_[used][kind.name];
        if (users.count++ >= kMostNamed) return;
        const auto name = place_of(kind, key).substr(std::string_view(kind.name).size() + 1);
        users.names += (users.names.empty() ? "" : ", ") + name;
    }

    static std::string words(const std::map<std::string, Users>& by_kind) {
        std::string text;
        for (const auto& [kind, users] : by_kind) {
            text += (text.empty() ? "" : ", ") + kind + " " + users.names;
            if (users.count > kMostNamed)
                text += " and " + std::to_string(users.count - kMostNamed) + " more";
        }
        return text;
    }

    const model::Change& change_;
    std::map<std::string, std::map<std::string, Users>> users_;  ///< by what is used, by kind
};

void check_in_use(const model::Change& change, const model::Config& desired, Faults& faults) {
    bool any = false;
    model::for_each_kind(
        [&](const auto& kind) { any = any || (kind.referred && !(change.*kind.deleted).empty()); });
    if (!any) return;
    InUse in_use(change);
    in_use.find_users(desired);
    in_use.tell(desired, faults);
}

void set_links(const SetLink& set_link, const model::Named<model::Port>& ports) {
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
    const auto config = store::present_config(tx);
    model::for_each_kind([&](const auto& kind) { add_all(kind, *config, desired, faults); });
    desired.timeouts = config->timeouts;
}

void ConfigSource::restored(const model::Named<model::Port>& ports) const {
    if (!set_link_) return;
    model::Named<model::Port> configured;
    {
        store::Transaction tx(*database_);
        configured = store::present_config(tx)->ports;
    }
    erase_if(configured, [&](const auto& item) { return !ports.contains(item.first); });
    set_links(set_link_, configured);
}

ConfigChanges::Planned ConfigChanges::plan(store::Transaction& tx, const Next& next,
                                           const std::optional<std::string>& comment) const {
    Planned planned;
    Faults faults;
    const auto present = store::present_config(tx);
    const auto& current = *present;
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
    if (comment) {
        planned.outcome.generation = store::change_config(tx, current, wanted, *comment);
    } else {
        store::suppose(tx, wanted);
    }
    const auto desired_after = reconciler_.desired(tx, faults);
    Faults in_use;
    check_in_use(planned.outcome.change, desired_after, in_use);
    // Told alone: each port would say that it misses its bridge.
    if (!in_use.empty()) throw Refused(in_use);
    std::set<std::pair<std::string, std::string>> known;
    for (const auto& fault : old_faults)
        known.emplace(fault.where, fault.reason);
    std::erase_if(faults, [&](const Fault& fault) { return known.contains({fault.where, fault.reason}); });
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
        planned = plan(tx, next, std::nullopt);
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

// The networks that people and container engines made, durably: the store's rows are the truth, and beside
// the configuration they are a source of what the dataplane should have. A network's bridge and gateway are
// there as long as it is, pods or not.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "network/network.h"
#include "pod/attachments.h"
#include "reconcile/reconciler.h"
#include "store/database.h"

namespace viaduct::network {

const std::vector<store::Migration>& migrations();

/// Any thread.
class Networks : public reconcile::DesiredSource {
public:
    explicit Networks(store::Database& database);

    /// Before any request.
    void use(reconcile::Reconciler& reconciler, pod::Attachments& attachments) {
        reconciler_ = &reconciler;
        attachments_ = &attachments;
    }

    /// What was made, and why the dataplane does not have it yet.
    struct Outcome {
        Network network;
        std::string note;
    };
    /// Chooses subnets where none were named. `dry_run`: makes nothing. Throws Refused (then nothing is
    /// made), store::Error.
    Outcome create(Wanted wanted, bool dry_run, const std::string& comment);
    /// Throws Refused while something is on it, and names it.
    void remove(const std::string& name, const std::string& comment);

    /// Throws Refused when there is none of that name.
    [[nodiscard]] Network get(const std::string& name) const;
    [[nodiscard]] std::optional<Network> find_foreign(const std::string& id) const;
    [[nodiscard]] std::vector<Network> list() const;
    /// One that nobody has and that overlaps none of `taken`; throws Refused when there is none.
    [[nodiscard]] Prefix free_subnet(bool v4, std::vector<Prefix> taken) const;
    [[nodiscard]] std::vector<pod::Record> endpoints(const Network& network) const;

    /// Attaches a pod: `request` has what is the pod's own, the network adds the rest. The network cannot be
    /// removed meanwhile. Throws as Attachments::add.
    attachment::Attached attach(const std::string& name, attachment::Request request,
                                const std::optional<node::Namespace>& ns);

    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override;

private:
    template <typename Visit>
    void for_each_taken(const std::string& own, const model::Config& desired, const Visit& visit) const;
    Prefix free_subnet(const Network& network, bool v4, const model::Config& desired,
                       std::vector<Prefix> taken) const;
    void choose_subnets(Wanted& wanted, const model::Config& desired) const;
    void refuse_overlaps(const Network& network, const model::Config& desired, Faults& faults) const;
    void check(Wanted& wanted, const model::Config& desired) const;
    model::Change accept(store::Transaction& tx, const Network& network, const model::Config& desired,
                         const Faults& before);
    void write(store::Transaction& tx, const Network& network, const std::string& comment);
    void erase(const std::string& name);
    model::Change forget(const Network& network, const std::string& comment);
    std::vector<std::string> users_of(const Network& network) const;

    store::Database& database_;
    reconcile::Reconciler* reconciler_ = nullptr;
    pod::Attachments* attachments_ = nullptr;

    std::shared_mutex use_;     ///< shared while a pod comes to a network, alone while networks come and go
    mutable std::mutex mutex_;  ///< guards what follows; taken inside a transaction, never around one
    std::map<std::string, Network> networks_;
};

/// Two sources as one, in their order.
class Together : public reconcile::DesiredSource {
public:
    Together(const reconcile::DesiredSource& first, const reconcile::DesiredSource& second)
        : first_(first), second_(second) {}
    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override {
        first_.contribute(tx, desired, faults);
        second_.contribute(tx, desired, faults);
    }

private:
    const reconcile::DesiredSource& first_;
    const reconcile::DesiredSource& second_;
};

}  // namespace viaduct::network

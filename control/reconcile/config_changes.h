// Changes of the configuration: checked as a whole, made durable as a generation, brought into force; or
// refused with nothing of them left anywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "viaduct/model.h"

#include "reconcile/reconciler.h"
#include "store/database.h"

namespace viaduct::reconcile {

/// Does in the kernel what a port that is in force needs there (node::set_link).
using SetLink = std::function<void(const model::Port&)>;

/// What people configured, as the first source of desired state.
class ConfigSource : public DesiredSource {
public:
    ConfigSource() = default;
    /// `set_link` is called for each configured port that a comparison restored.
    ConfigSource(store::Database& database, SetLink set_link)
        : database_(&database), set_link_(std::move(set_link)) {}
    [[nodiscard]] const char* origin() const override { return "config"; }
    void restored(const model::Named<model::Port>& ports) const override;
    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override;

private:
    store::Database* database_ = nullptr;
    SetLink set_link_;
};

class ConfigChanges {
public:
    struct Outcome {
        std::int64_t generation = 0;  ///< the new one; the present one when nothing changed or for a dry run
        model::Change change;         ///< what differs
        bool applied = false;         ///< in force in the dataplane, or (dry run) accepted by it
        std::string note;             ///< why it is not, in words
    };

    ConfigChanges(store::Database& database, Reconciler& reconciler, SetLink set_link = {})
        : database_(database), reconciler_(reconciler), set_link_(std::move(set_link)) {}

    /// All of these: any thread; throw Refused (with every fault), store::Error; then nothing changed. A
    /// dataplane that is away is no reason to refuse.
    Outcome change(const model::Change& change, bool dry_run, const std::string& comment);
    /// `config` becomes the whole configuration.
    Outcome replace(const model::Config& config, bool dry_run, const std::string& comment);
    /// The configuration becomes what it was after `generation`, as a new generation. Attachments are not
    /// touched.
    Outcome rollback(std::int64_t generation, bool dry_run, const std::string& comment);

private:
    using Next = std::function<model::Config(store::Transaction&, const model::Config& current, Faults&)>;
    struct Planned {
        Outcome outcome;
        model::Change desired;  ///< what the dataplane is to be told: more than `outcome.change` where pods
                                ///< are concerned
    };

    Outcome make(const Next& next, bool dry_run, const std::string& comment);
    /// Without a comment nothing is written: `tx` only sees what would come of it.
    Planned plan(store::Transaction& tx, const Next& next, const std::optional<std::string>& comment) const;
    void withdraw(std::int64_t generation) const;

    store::Database& database_;
    Reconciler& reconciler_;
    const SetLink set_link_;
    std::mutex mutex_;  ///< one change of the configuration at a time, from its check until it is in force
};

}  // namespace viaduct::reconcile

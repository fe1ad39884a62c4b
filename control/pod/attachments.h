// Pod interfaces from ADD to DEL.
//
// Theory of operation. The row comes first and the effects after it: an attachment is in the store, marked
// "adding", before anything of it is in the kernel, the dataplane or the file system, and it is marked
// "removing" before anything is taken away. So whatever instant control is killed at, the next start finds
// every trace through the store: what is not "ready" is taken away then. The dataplane needs nothing of that:
// it is compared with what the rows want. Addresses are held in the same transaction as the row; a DEL gives
// them back last, when nothing can send from them any more.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "viaduct/attachment.h"

#include "ipam/leases.h"
#include "node/netns.h"
#include "pod/delegations.h"
#include "pod/record.h"
#include "reconcile/reconciler.h"
#include "store/database.h"

namespace viaduct::node {
struct InterfaceConfig;
}

namespace viaduct::pod {

struct Options {
    std::string run_dir = "/run/viaduct";      ///< pods' socket directories and namespace mounts lie below it
    std::chrono::milliseconds patience{3000};  ///< how long an ADD waits for a dataplane that is away
};

/// What a network configuration asks of address management, for STATUS.
struct Needs {
    std::string network;
    std::string segment;
    std::vector<attachment::RangeSet> sets;
    std::vector<Prefix> exclude;
};

/// Any thread, unless said otherwise. Failures are pod::Failure, with CNI's code, or Refused.
class Attachments : public reconcile::DesiredSource {
public:
    /// Reads the store. `configuration` is what people configured: its bridges are used, its ports are not
    /// touched.
    Attachments(Options options, store::Database& database, const reconcile::DesiredSource& configuration);

    /// Takes away what a crash or a reboot left. Once, before the reconciler starts.
    void recover();
    /// The reconciler, which knows this source. Before any request.
    void use(reconcile::Reconciler& reconciler) { reconciler_ = &reconciler; }

    /// `changed` is called when pods have come, are about to go or have other labels, with no lock held that
    /// anybody else takes. Before any request.
    void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

    /// ADD. An attachment that is there already is replaced.
    attachment::Attached add(attachment::Request request, const std::optional<node::Namespace>& ns);
    /// DEL; true when there was something. `ns`: where to look for a stray interface when nothing is
    /// recorded.
    bool remove(const Key& key, const std::optional<node::Namespace>& ns);
    /// CHECK: throws Failure with the first difference.
    void check(const attachment::Expected& expected, const std::optional<node::Namespace>& ns) const;
    /// GC: removes this network's attachments that are not in `valid`; returns them.
    std::vector<Key> collect(const std::string& network, const std::set<Key>& valid);
    /// Removes what was to go with its namespace, where nobody is in that any more; returns it.
    std::vector<Key> collect_vanished();
    /// Of one that is handed over: a container engine is about to move its interface to `sandbox` (a
    /// namespace's path), or back (empty). Throws Failure when it is not known.
    void expect_move(const Key& key, const std::string& sandbox);
    /// Finds out where interfaces that were handed over are by now, so that they are found again there.
    void follow_moves();
    /// Publishes these ports of it and no others. Throws Failure, Refused: then it publishes what it did.
    void publish(const Key& key, std::vector<attachment::PortMapping> mappings);
    /// Those that are attached, whole; a pod may have several attachments.
    [[nodiscard]] std::map<PodName, Pod> pods() const;
    /// Changes the labels of a pod and returns them as they are then, on disk. Throws Failure when it is not
    /// attached, Refused, store::Error: nothing is changed then.
    Labels label(const PodName& pod, const LabelChange& change);
    /// Whether somebody is in `ns`, to which `path` may lead, and can be seen from here.
    [[nodiscard]] bool is_lived_in(const std::string& path, std::uint64_t ns) const;
    /// STATUS: throws Failure when an ADD could not succeed now.
    void status(const Needs& needs) const;

    /// Before a delegated IPAM plugin runs: records it and returns its token. What the same attachment had
    /// goes.
    std::string begin(const Key& key, const attachment::Delegation& delegation, http::Descriptor life);
    Delegations& delegations() { return delegations_; }
    /// Of this network, whose DEL nobody will make otherwise.
    [[nodiscard]] std::vector<attachment::Owed> owed(const std::string& network) const;

    [[nodiscard]] std::vector<Record> list() const;

    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override;
    void restored(const model::Named<model::Port>& ports) const override;

private:
    /// While it lives, nobody else works on that attachment.
    class Turn {
    public:
        Turn(Attachments& all, Key key);
        ~Turn();
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

    private:
        Attachments& all_;
        Key key_;
    };

    [[nodiscard]] bool has_vanished(const Record& record) const;
    [[nodiscard]] Record plan(attachment::Request request, const std::optional<node::Namespace>& ns) const;
    void accept(Record& record);
    void choose_mac(Record& record) const;
    [[nodiscard]] std::string mount_of(const Record& record) const;
    Record require(const Key& key) const;
    [[nodiscard]] std::string sandbox_mount_of(const Record& record) const;
    std::optional<Record> found_in(const Record& record, const node::Namespace& ns, bool home) const;
    std::optional<Record> locate(const Record& record) const;
    void follow(const Record& record);
    void replace(const Record& record, store::Transaction& tx);
    model::Change translation_of(const Record& record, bool added) const;
    model::Change change_for(const Record& record) const;
    void make(const Record& record, const std::optional<node::Namespace>& ns);
    void withdraw(const Record& record);
    void take_away(const Record& record);
    model::Change what_leaves(const Record& record);
    void leave_dataplane(const Record& record);
    void remove(const Record& record);
    void erase(const Record& record, bool withdrawn);
    void erase_record(const Record& record, bool withdrawn);
    void remove_effects(const Record& record);
    void mark(const Key& key, State state);
    void save_labels(const std::vector<Record>& records, const LabelChange& change);
    std::optional<Record> find(const Key& key) const;

    const Options options_;
    store::Database& database_;
    const reconcile::DesiredSource& configuration_;
    reconcile::Reconciler* reconciler_ = nullptr;
    std::function<void()> changed_;
    const std::string boot_;
    ipam::Leases leases_;
    Delegations delegations_;

    std::mutex leaving_;        ///< of ports: the last one to leave takes the bridge along
    mutable std::mutex mutex_;  ///< guards what follows; taken inside a transaction, never around one
    Records records_;
    std::set<Key> busy_;
    std::condition_variable free_;
};

/// What the kernel interface of `record` should be.
node::InterfaceConfig interface_of(const Record& record);

}  // namespace viaduct::pod

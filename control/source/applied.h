// Manifests that people apply by hand (viaduct apply), kept in the store. Each document is a row: its text is
// the typed object written again, so that what is in force after a restart is what was in force before it,
// whatever the manifest looked like.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"
#include "source/source.h"
#include "store/database.h"

namespace viaduct::source {

const std::vector<store::Migration>& migrations();

/// What becomes of one object.
struct Applying {
    enum class Outcome : std::uint8_t { created, configured, unchanged, deleted, absent };
    kubernetes::ObjectId id;
    Outcome outcome = Outcome::unchanged;
    std::string before;  ///< the manifest as one line of JSON; empty: there was none
    std::string after;   ///< empty: there is none then
};
std::string_view to_string(Applying::Outcome outcome);  ///< "created", ...

class Applied final : public Source {
public:
    /// Whether it is done, or only told what would be.
    enum class Run : std::uint8_t { dry, real };

    /// Reads what was applied before. A row that cannot be read any more stays, and is among the faults.
    /// Throws store::Error.
    explicit Applied(store::Database& database);

    /// Puts all objects of the documents, or none: throws Refused with the faults that reading them has
    /// found, store::Error when the store cannot take them. On disk, and handed to the listener, when it
    /// returns; in the documents' order. Any thread.
    std::vector<Applying> put(const kubernetes::Documents& documents, Run run);
    /// Takes all of these away. One that is not there is `absent`, and no reason to keep the others. Any
    /// thread; throws store::Error.
    std::vector<Applying> erase(const std::vector<kubernetes::ObjectId>& ids, Run run);

    [[nodiscard]] std::string name() const override { return "applied manifests"; }
    /// The first snapshot comes before it returns.
    void start(Listener listener) override;
    void stop() override;
    /// Also before start().
    [[nodiscard]] SnapshotPtr latest() const override;
    [[nodiscard]] std::string trouble() const override { return {}; }

    /// What objects' origin calls the file.
    [[nodiscard]] const std::string& place() const { return *place_; }

private:
    using Objects = std::vector<kubernetes::AnyObject>;
    struct Change {
        kubernetes::ObjectId id;
        Objects objects;
    };

    Objects read(const std::string& text, std::vector<kubernetes::DocumentFault>& faults);
    void keep(const std::vector<Applying>& all);
    void replace(const kubernetes::ObjectId& id, const Objects* objects);
    void deliver();

    store::Database& database_;
    const std::shared_ptr<const std::string> place_ = std::make_shared<const std::string>("applied");

    std::mutex changing_;  ///< one change, or start and stop, at a time; guards what follows
    kubernetes::TextPool pool_;
    std::map<kubernetes::ObjectId, Objects> objects_;
    std::map<kubernetes::ObjectId, std::vector<kubernetes::DocumentFault>> unreadable_;
    Snapshot now_;
    Listener listener_;

    mutable std::mutex mutex_;  ///< guards latest_
    SnapshotPtr latest_;
};

}  // namespace viaduct::source

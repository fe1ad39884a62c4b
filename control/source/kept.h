// What a directory of manifests said last, on disk: a node that starts while its directory is not there (a
// volume that is not mounted yet), or while somebody has spoilt a file in it, has the services that it had.
//
// The directory is the truth, and this a copy that follows it a moment later, whatever was said at one
// instant in one transaction. It lies in a file of its own, so that tens of thousands of manifests that are
// read anew keep nobody waiting who is about to plug a pod in.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kubernetes/reader.h"
#include "store/database.h"

namespace viaduct::source {

/// One directory, as long as its file system stays mounted.
struct DirectoryIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const DirectoryIdentity&, const DirectoryIdentity&) = default;
};

/// What is in force of one manifest now; nothing: it is gone.
struct InForce {
    kubernetes::ObjectId id;
    std::vector<kubernetes::AnyObject> objects;
};

class Kept {
public:
    static const std::vector<store::Migration>& migrations();

    /// Of the directory of this path; what was kept of another is forgotten. `database` is for this alone.
    /// Throws store::Error.
    Kept(store::Database& database, std::string path);
    /// Writes what is still to be written.
    ~Kept();
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

    // What was kept when this began, and until note() is first called. Any thread; throw store::Error.

    /// The directory that it was read in; nothing: none was.
    [[nodiscard]] std::optional<DirectoryIdentity> identity() const;
    /// Names of the files that something is kept of.
    [[nodiscard]] std::vector<std::string> files() const;
    /// What is kept of one file.
    [[nodiscard]] kubernetes::Documents documents(const std::shared_ptr<const std::string>& file,
                                                  kubernetes::TextPool& pool) const;

    /// Takes over what changed, in the order of the calls; the first of them tells all that is in force. On
    /// disk soon after. Any thread; where it cannot be written, the log says so, and it is tried again with
    /// the next change.
    void note(const DirectoryIdentity& identity, std::vector<InForce> changes);

private:
    using Pending = std::map<kubernetes::ObjectId, std::vector<kubernetes::AnyObject>>;

    void run(const std::stop_token& stopping);
    void write(const DirectoryIdentity& identity, const Pending& changes);

    store::Database& database_;
    const std::string path_;
    bool whole_ = false;    ///< of the thread: all that is not in force was forgotten
    bool failing_ = false;  ///< of the thread

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable_any bell_;
    DirectoryIdentity identity_;
    Pending pending_;
    bool noted_ = false;

    std::jthread thread_;  ///< last: ends before the rest goes
};

}  // namespace viaduct::source

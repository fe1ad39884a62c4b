// Desired state from a directory of Kubernetes manifests: *.yaml, *.yml and *.json directly in it, hidden
// files and subdirectories not, as kubectl reads a directory. What a program renames into it is in force a
// few milliseconds later.
//
// Theory of operation: inotify says which files changed. A short while after the last word (and not long
// after the first) these files are read, and what is new goes out as one snapshot. A file that is being
// written to waits until its writer is done. What inotify does not say is looked for: whether the path still
// leads to the same directory, and whether what links lead to has changed (a mounted ConfigMap is links by
// way of "..data"); everything, by times and sizes, when events were lost and once in a while.
//
// A directory that is not there any more, or is replaced by an empty one (an unmounted volume leaves one),
// takes nothing away: what it said last stays, and `trouble` says so. Files that are deleted one by one are
// deleted objects, also when the directory follows them. All this holds over a restart as well, where there
// is a copy (kept.h) of what it said before.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "source/source.h"

namespace viaduct::source {

class Kept;

struct DirectoryOptions {
    std::string path;  ///< may be a link; need not be there yet
    /// From the last change to reading it; so long after the first at most.
    std::chrono::milliseconds quiet{2};
    std::chrono::milliseconds longest{20};
    /// How long a file that somebody wrote to and has not closed is waited for.
    std::chrono::milliseconds writer{1000};
    /// How often the path is looked at, what links lead to, and everything.
    std::chrono::milliseconds look_at_path{250};
    std::chrono::milliseconds look_at_links{1000};
    std::chrono::milliseconds look_at_all{60000};
};

class Directory final : public Source {
public:
    /// `kept`: of this directory, and outlives this; null: nothing stays over a restart.
    explicit Directory(DirectoryOptions options, Kept* kept = nullptr);
    ~Directory() override;

    [[nodiscard]] std::string name() const override;
    void start(Listener listener) override;
    void stop() override;
    [[nodiscard]] SnapshotPtr latest() const override;
    [[nodiscard]] std::string trouble() const override;

private:
    class Watch;
    std::unique_ptr<Watch> watch_;
};

}  // namespace viaduct::source

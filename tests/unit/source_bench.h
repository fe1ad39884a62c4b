// A directory of manifests that is watched, and what came of it; every wait has a deadline.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "source/directory.h"
#include "source/kept.h"

namespace viaduct::source {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

inline constexpr auto kDeadline = 10s;

inline std::string service(const std::string& name, int port) {
    return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           ", namespace: apps}\nspec:\n  ports: [{port: " + std::to_string(port) + "}]\n";
}

inline void write(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
}
/// As careful programs do.
inline void rename_over(const fs::path& path, const std::string& text) {
    const auto fresh = path.parent_path() / ".fresh";
    write(fresh, text);
    fs::rename(fresh, path);
}

class SourceDirectory : public testing::Test {
protected:
    SourceDirectory() {
        std::string name = (fs::temp_directory_path() / "vd-source-XXXXXX").string();
        top_ = ::mkdtemp(name.data());
        path_ = top_ / "manifests";
        fs::create_directory(path_);
    }
    ~SourceDirectory() override {
        stop();
        fs::remove_all(top_);
    }

    void start(std::chrono::milliseconds writer = 100ms) {
        DirectoryOptions options;
        options.path = path_.string();
        options.writer = writer;
        options.look_at_path = 20ms;
        options.look_at_links = 50ms;
        source_ = std::make_unique<Directory>(options, kept_.get());
        source_->start([this](SnapshotPtr snapshot) {
            const std::lock_guard lock(mutex_);
            snapshots_.push_back(std::move(snapshot));
            came_.notify_all();
        });
    }

    void stop() {
        if (source_) source_->stop();
        source_.reset();
        kept_.reset();
        database_.reset();
        snapshots_.clear();
        looked_at_ = 0;
    }
    /// What is said from now on is kept for the next start.
    void keep() {
        database_ = std::make_unique<store::Database>((top_ / "kept.db").string(), Kept::migrations());
        kept_ = std::make_unique<Kept>(*database_, path_.string());
    }
    void start_keeping() {
        keep();
        start();
    }

    /// The first snapshot, not yet looked at, that is as wanted.
    template <typename Wanted>
    SnapshotPtr wait(const Wanted& wanted) {
        std::unique_lock lock(mutex_);
        SnapshotPtr found;
        came_.wait_for(lock, kDeadline, [&] {
            while (found == nullptr && looked_at_ < snapshots_.size()) {
                const auto& snapshot = snapshots_[looked_at_++];
                if (wanted(*snapshot)) found = snapshot;
            }
            return found != nullptr;
        });
        EXPECT_NE(found, nullptr) << "no such snapshot came";
        return found == nullptr ? std::make_shared<Snapshot>() : found;
    }
    /// The port of a service; 0: there is no such service.
    static int port_of(const Snapshot& snapshot, const std::string& name) {
        const auto found = snapshot.objects.services.find({"apps", name});
        return found == snapshot.objects.services.end() ? 0 : found->second->ports.front().port;
    }
    SnapshotPtr wait_for_port(const std::string& name, int port) {
        return wait([&](const Snapshot& snapshot) { return port_of(snapshot, name) == port; });
    }
    /// No snapshot so far was as it must not be.
    template <typename Forbidden>
    void expect_never(const Forbidden& forbidden) {
        const std::lock_guard lock(mutex_);
        for (const auto& snapshot : snapshots_)
            EXPECT_FALSE(forbidden(*snapshot));
    }
    static std::vector<std::string> faults_of(const Snapshot& snapshot) {
        std::vector<std::string> words;
        for (const auto& [file, faults] : snapshot.faults) {
            for (const auto& fault : faults)
                words.push_back(to_string(fault));
        }
        return words;
    }

    fs::path top_;
    fs::path path_;
    std::mutex mutex_;
    std::condition_variable came_;
    std::vector<SnapshotPtr> snapshots_;
    std::size_t looked_at_ = 0;
    std::unique_ptr<store::Database> database_;
    std::unique_ptr<Kept> kept_;
    std::unique_ptr<Directory> source_;
};

}  // namespace viaduct::source

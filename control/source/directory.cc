// The watch on a directory: what the kernel tells of it, what is looked for besides, and when files are read.
#include "source/directory.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "viaduct/http.h"

#include "source/files.h"
#include "source/kept.h"
#include "source/manifests.h"

namespace viaduct::source {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM |
                                  IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
/// Faults that are logged of one snapshot; all are in the snapshot.
constexpr std::size_t kLoggedMost = 10;

}  // namespace

class Directory::Watch {
public:
    Watch(DirectoryOptions options, Kept* kept) : options_(std::move(options)), kept_(kept) {
        if (!inotify_.valid())
            throw std::runtime_error("the kernel gives no inotify to watch " + options_.path +
                                     " by: " + std::strerror(errno));
        if (!bell_.valid()) throw std::runtime_error("the kernel gives no eventfd");
    }
    ~Watch() { stop(); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    [[nodiscard]] std::string name() const { return "directory " + options_.path; }

    void start(Listener listener) {
        listener_ = std::move(listener);
        thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
    }

    void stop() {
        thread_.request_stop();
        ::eventfd_write(bell_.get(), 1);
        if (thread_.joinable()) thread_.join();
    }

    SnapshotPtr latest() const {
        const std::lock_guard lock(mutex_);
        return latest_;
    }
    std::string trouble() const {
        const std::lock_guard lock(mutex_);
        return trouble_;
    }

private:
    /// What was seen of a file when it was read.
    struct Seen {
        Manifests::FileName name;
        Signature signature;
        std::int64_t looked_at = 0;
    };

    void run(const std::stop_token& stopping);
    [[nodiscard]] std::chrono::nanoseconds until_next() const;
    void look_around(Clock::time_point now);
    void take_events();
    void take_event(const inotify_event& event, std::string_view name);
    void want(const std::string& name);
    [[nodiscard]] Clock::time_point due() const;

    bool take_up();
    void follow_path();
    void let_go(const std::string& why);
    bool read_everything(const std::stop_token& stopping);
    void look_at_links();
    bool read_wanted(const std::stop_token& stopping);
    void read_one(const std::string& name);
    void forget(const std::string& name);
    void in_trouble(std::string trouble);
    void recall(const Manifests::FileName& name);
    void recall_all();
    void deliver();
    void keep();
    void log_faults(const Snapshot& before, const Snapshot& now) const;

    const DirectoryOptions options_;
    Kept* const kept_;  ///< null: nothing is kept
    const http::Descriptor inotify_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    const http::Descriptor bell_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    Listener listener_;

    // Of the thread.
    http::Descriptor directory_;  ///< what the path leads to; not valid: to nothing
    Signature identity_;          ///< of it; device and inode count
    int watch_ = -1;
    Manifests manifests_;
    kubernetes::TextPool pool_;
    std::map<std::string, Seen> seen_;
    std::set<std::string> links_;                          ///< those of them that are symbolic links
    std::set<std::string> wanted_;                         ///< to be read when due()
    std::map<std::string, Clock::time_point> written_to_;  ///< and not closed yet; since when
    Clock::time_point first_wanted_;
    Clock::time_point last_wanted_;
    bool read_all_ = false;     ///< everything is to be looked at
    bool check_path_ = true;    ///< the path may lead elsewhere
    bool check_links_ = false;  ///< links may lead to something else
    bool replaced_ = false;     ///< this is not the directory that the manifests were read in
    Clock::time_point path_checked_;
    Clock::time_point links_checked_;
    Clock::time_point all_checked_;
    std::string text_;                 ///< of the file that is being read; kept for its memory
    std::string told_;                 ///< the trouble in the latest snapshot
    bool recalls_ = kept_ != nullptr;  ///< what was kept before the start still counts

    mutable std::mutex mutex_;
    SnapshotPtr latest_;
    std::string trouble_;
    std::jthread thread_;  ///< last: ends before the rest goes
};

void Directory::Watch::run(const std::stop_token& stopping) {
    while (!stopping.stop_requested()) {
        try {
            std::array<pollfd, 2> waits{{{inotify_.get(), POLLIN, 0}, {bell_.get(), POLLIN, 0}}};
            // Of a few milliseconds none is to be lost to poll's steps.
            const auto wait = until_next();
            const timespec time{wait / 1s, (wait % 1s).count()};
            ::ppoll(waits.data(), waits.size(), &time, nullptr);
            if (stopping.stop_requested()) return;
            take_events();
            look_around(Clock::now());
            bool done = true;
            if (read_all_ && directory_.valid()) done = read_everything(stopping);
            if (done && !wanted_.empty() && Clock::now() >= due()) done = read_wanted(stopping);
            if (done) deliver();
        } catch (const std::exception& error) {
            spdlog::error("{}: {}", name(), error.what());
            read_all_ = true;
            pollfd ended{bell_.get(), POLLIN, 0};
            ::poll(&ended, 1, static_cast<int>(options_.look_at_path.count()));
        }
    }
}

/// Until something is to be done that nobody will wake us for.
std::chrono::nanoseconds Directory::Watch::until_next() const {
    if (check_path_ || check_links_ || (read_all_ && directory_.valid())) return 0ns;
    auto next = path_checked_ + options_.look_at_path;
    if (!wanted_.empty()) next = std::min(next, due());
    for (const auto& [name, since] : written_to_)
        next = std::min(next, since + options_.writer);
    return std::max<std::chrono::nanoseconds>(next - Clock::now(), 0ns);
}

Clock::time_point Directory::Watch::due() const {
    return std::min(last_wanted_ + options_.quiet, first_wanted_ + options_.longest);
}

void Directory::Watch::look_around(Clock::time_point now) {
    for (auto file = written_to_.begin(); file != written_to_.end();) {
        if (now < file->second + options_.writer) {
            ++file;
            continue;
        }
        // Its writer keeps it open; what is in it counts.
        want(file->first);
        file = written_to_.erase(file);
    }
    if (check_path_ || now >= path_checked_ + options_.look_at_path) {
        check_path_ = false;
        path_checked_ = now;
        follow_path();
    }
    if (check_links_ || now >= links_checked_ + options_.look_at_links) {
        check_links_ = false;
        links_checked_ = now;
        look_at_links();
    }
    if (now >= all_checked_ + options_.look_at_all) read_all_ = true;
}

void Directory::Watch::take_events() {
    alignas(inotify_event) std::array<char, 65536> buffer;  // NOLINT: written by the kernel
    while (true) {
        const auto size = ::read(inotify_.get(), buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return;
        for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            take_event(*event, event->len == 0 ? std::string_view() : std::string_view(event->name));
            at += sizeof(inotify_event) + event->len;
        }
    }
}

void Directory::Watch::take_event(const inotify_event& event, std::string_view name) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
        read_all_ = true;
        return;
    }
    if (event.wd != watch_) return;  // of a directory that was let go of
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0) {
        check_path_ = true;
        return;
    }
    // "..data", by which the files of a ConfigMap change all at once.
    if (name.starts_with('.') && (event.mask & (IN_CREATE | IN_MOVED_TO | IN_DELETE)) != 0)
        check_links_ = true;
    if (!is_manifest_name(name)) return;
    const std::string file(name);
    if ((event.mask & (IN_MODIFY | IN_CREATE)) != 0) {
        // A name for what is there already is not going to be written to, and nobody will close it.
        struct stat status {};
        const bool whole = (event.mask & IN_CREATE) != 0 && directory_.valid() &&
                           ::fstatat(directory_.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                           (!S_ISREG(status.st_mode) || status.st_nlink > 1);
        if (whole) return want(file);
        written_to_[file] = Clock::now();
        wanted_.erase(file);
        return;
    }
    if (event.mask == IN_ATTRIB && written_to_.contains(file)) return;
    written_to_.erase(file);
    want(file);
}

void Directory::Watch::want(const std::string& name) {
    last_wanted_ = Clock::now();
    if (wanted_.empty()) first_wanted_ = last_wanted_;
    wanted_.insert(name);
}

/// Opens what the path leads to now. False: nothing, and errno says why.
bool Directory::Watch::take_up() {
    http::Descriptor directory(::open(options_.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!directory.valid() || ::fstat(directory.get(), &status) != 0) return false;
    // By the descriptor, so that what is watched is what is read.
    const auto opened = "/proc/self/fd/" + std::to_string(directory.get());
    const int watch = ::inotify_add_watch(inotify_.get(), opened.c_str(), kEvents);
    if (watch < 0) return false;
    directory_ = std::move(directory);
    identity_ = signature_of(status);
    watch_ = watch;
    wanted_.clear();
    written_to_.clear();
    read_all_ = true;
    replaced_ = true;
    return true;
}

void Directory::Watch::follow_path() {
    struct stat status {};
    const bool there = ::stat(options_.path.c_str(), &status) == 0;
    const int error = errno;
    if (directory_.valid()) {
        const auto now = signature_of(status);
        if (there && now.device == identity_.device && now.inode == identity_.inode) return;
        // Events of the old one end here; what they asked for is in the new one, or nowhere.
        ::inotify_rm_watch(inotify_.get(), watch_);
        watch_ = -1;
        directory_ = http::Descriptor();
        wanted_.clear();
        written_to_.clear();
    }
    if (!there) return let_go(std::strerror(error));
    if (!take_up()) let_go(std::strerror(errno));
}

void Directory::Watch::let_go(const std::string& why) {
    recall_all();
    const bool before = latest() != nullptr || manifests_.files() > 0;
    in_trouble("the directory " + options_.path + " is not there to be read (" + why + "); " +
               (before ? "what it said last stays in force until it is back"
                       : "nothing comes from it until it is there"));
}

/// False: stopped before the end.
bool Directory::Watch::read_everything(const std::stop_token& stopping) {
    const auto entries = entries_of(directory_.get());
    if (!entries) {
        in_trouble("the directory " + options_.path + " cannot be read (" + std::strerror(errno) +
                   "); what it said last stays in force");
        read_all_ = false;
        all_checked_ = Clock::now();
        return true;
    }
    std::set<std::string> there;
    for (const auto& entry : *entries) {
        if (is_manifest_name(entry)) there.insert(entry);
    }
    read_all_ = false;
    all_checked_ = Clock::now();
    if (there.empty()) recall_all();
    if (replaced_ && there.empty() && manifests_.files() > 0) {
        in_trouble("the directory " + options_.path +
                   " was replaced by an empty one; what it said last stays in force until there is a "
                   "manifest in it");
        return true;
    }
    replaced_ = false;
    in_trouble({});
    std::vector<std::string> gone;
    for (const auto& [name, seen] : seen_) {
        if (!there.contains(name)) gone.push_back(name);
    }
    for (const auto& name : gone)
        forget(name);
    for (const auto& name : there) {
        if (stopping.stop_requested()) return false;
        const auto seen = seen_.find(name);
        const bool same = seen != seen_.end() && is_settled(seen->second.signature, seen->second.looked_at) &&
                          look_at(directory_.get(), name) == seen->second.signature;
        if (!same) read_one(name);
    }
    return true;
}

void Directory::Watch::look_at_links() {
    if (!directory_.valid()) return;
    for (const auto& name : links_) {
        if (look_at(directory_.get(), name) != seen_.at(name).signature) want(name);
    }
}

/// False: stopped before the end.
bool Directory::Watch::read_wanted(const std::stop_token& stopping) {
    // Files that go with their directory are not deleted.
    follow_path();
    const auto names = std::exchange(wanted_, {});
    if (!directory_.valid() || read_all_) return true;
    // The first manifest in what replaced the directory: now all of it counts.
    if (replaced_) {
        read_all_ = true;
        return true;
    }
    for (const auto& name : names) {
        if (stopping.stop_requested()) return false;
        read_one(name);
    }
    return true;
}

void Directory::Watch::read_one(const std::string& name) {
    const auto file = read_file(directory_.get(), name, text_);
    // Whoever wrote to it while it was read may have left half of it; it is wanted again, or will be when it
    // is closed.
    take_events();
    if (written_to_.contains(name) || wanted_.contains(name)) return;
    // A file is empty some time before the kernel says that somebody emptied it to write it anew.
    const auto before = seen_.find(name);
    const bool emptied = file.found == Found::text && text_.empty() && before != seen_.end() &&
                         before->second.signature.size > 0 && !is_settled(file.signature, file.looked_at);
    if (emptied || file.found == Found::changing) {
        written_to_[name] = Clock::now();
        return;
    }
    if (file.found == Found::nothing) return forget(name);
    const bool first = !seen_.contains(name);
    auto& seen = seen_[name];
    if (seen.name == nullptr) seen.name = std::make_shared<const std::string>(name);
    if (file.found == Found::unreadable) {
        if (first) recall(seen.name);
        manifests_.put_unreadable(seen.name, file.reason);
    } else {
        auto documents = kubernetes::read_documents(text_, seen.name, pool_);
        if (first && !documents.faults.empty()) recall(seen.name);
        manifests_.put(seen.name, std::move(documents));
    }
    seen.signature = file.signature;
    seen.looked_at = file.looked_at;
    if (file.link) {
        links_.insert(name);
    } else {
        links_.erase(name);
    }
    constexpr std::size_t kKept = 1U << 20U;
    if (text_.capacity() > kKept) std::string().swap(text_);
}

void Directory::Watch::forget(const std::string& name) {
    seen_.erase(name);
    links_.erase(name);
    manifests_.erase(name);
}

void Directory::Watch::in_trouble(std::string trouble) {
    const std::lock_guard lock(mutex_);
    if (trouble == trouble_) return;
    if (trouble.empty()) {
        spdlog::info("{}: is there and in force again", name());
    } else {
        spdlog::warn("{}: {}", name(), trouble);
    }
    trouble_ = std::move(trouble);
}

/// What a file said before the start is in force until it says something else.
void Directory::Watch::recall(const Manifests::FileName& name) {
    if (!recalls_) return;
    try {
        manifests_.put(name, kept_->documents(name, pool_));
        manifests_.snapshot();
    } catch (const store::Error& error) {
        recalls_ = false;
        spdlog::error("{}: what it said before the start is lost: {}", this->name(), error.what());
    }
}

/// What the directory said before the start, unless this is the same one, which has lost its files one by one
/// then.
void Directory::Watch::recall_all() {
    if (!recalls_ || manifests_.files() > 0) return;
    try {
        const auto before = kept_->identity();
        if (!before ||
            (directory_.valid() && *before == DirectoryIdentity{identity_.device, identity_.inode}))
            return;
        for (const auto& file : kept_->files()) {
            auto& seen = seen_[file];
            seen.name = std::make_shared<const std::string>(file);
            recall(seen.name);
        }
    } catch (const store::Error& error) {
        recalls_ = false;
        spdlog::error("{}: what it said before the start is lost: {}", name(), error.what());
    }
}

/// Only of what is really there: what stays in force for want of it is kept already.
void Directory::Watch::keep() {
    if (kept_ == nullptr || !directory_.valid() || read_all_ || !told_.empty()) return;
    recalls_ = false;
    kept_->note({identity_.device, identity_.inode}, manifests_.take_changes());
}

/// Where there is something new.
void Directory::Watch::deliver() {
    const auto before = latest();
    // Before everything has been read once there is nothing to tell but what was kept.
    const bool whole = directory_.valid() ? !read_all_ : manifests_.files() > 0;
    if (before == nullptr && !whole) return;
    auto trouble = this->trouble();
    if (before != nullptr && !manifests_.changed() && trouble == told_) return;
    auto now = std::make_shared<Snapshot>(manifests_.snapshot());
    now->trouble = told_ = std::move(trouble);
    now->read_at =
        now->trouble.empty() || before == nullptr ? std::chrono::system_clock::now() : before->read_at;
    log_faults(before == nullptr ? Snapshot() : *before, *now);
    // A file that was written anew and says the same is nobody's business.
    const bool is_new = before == nullptr || before->trouble != now->trouble ||
                        before->objects != now->objects || before->faults != now->faults ||
                        before->passed_over != now->passed_over;
    {
        const std::lock_guard lock(mutex_);
        latest_ = now;
    }
    if (is_new) listener_(std::move(now));
    keep();
}

void Directory::Watch::log_faults(const Snapshot& before, const Snapshot& now) const {
    std::size_t count = 0;
    using Faults = std::vector<kubernetes::DocumentFault>;
    decltype(now.faults)::differences(
        before.faults, now.faults, [&](const std::string&, const Faults* old, const Faults* news) {
            if (news == nullptr) return true;
            for (const auto& fault : *news) {
                if (old != nullptr && std::find(old->begin(), old->end(), fault) != old->end()) continue;
                if (++count <= kLoggedMost) spdlog::warn("{}: {}", name(), to_string(fault));
            }
            return true;
        });
    if (count > kLoggedMost) spdlog::warn("{}: and {} more faults", name(), count - kLoggedMost);
}

Directory::Directory(DirectoryOptions options, Kept* kept)
    : watch_(std::make_unique<Watch>(std::move(options), kept)) {}
Directory::~Directory() = default;

std::string Directory::name() const {
    return watch_->name();
}
void Directory::start(Listener listener) {
    watch_->start(std::move(listener));
}
void Directory::stop() {
    watch_->stop();
}
SnapshotPtr Directory::latest() const {
    return watch_->latest();
}
std::string Directory::trouble() const {
    return watch_->trouble();
}

}  // namespace viaduct::source

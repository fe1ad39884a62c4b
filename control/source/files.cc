// Reading files that are not ours to hold still.
#include "source/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "viaduct/http.h"

#include "kubernetes/reader.h"

namespace viaduct::source {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
/// Longer than a step of any file's clock but those of network file systems from the last century.
constexpr std::int64_t kSettled = kSecond / 10;
constexpr int kAttempts = 3;

std::int64_t nanoseconds(const timespec& time) {
    return time.tv_sec * kSecond + time.tv_nsec;
}

std::string because_of(int error) {
    return std::string("cannot be read (") + std::strerror(error) + "); what it said last stays in force";
}

/// All bytes of an open file; false with errno.
bool read_all(int file, std::size_t expected, std::string& text) {
    text.resize(expected + 1);  // one more, so that the end is seen without another call that grows it
    std::size_t size = 0;
    while (true) {
        if (size == text.size()) text.resize(2 * size);
        const auto got = ::read(file, text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break;
        size += static_cast<std::size_t>(got);
        if (size > kubernetes::kTextBytesMost) break;
    }
    text.resize(size);
    return true;
}

/// One attempt. `found` is text also when the file changed meanwhile: `still` says whether it did not.
FileText read_once(int directory, const std::string& name, std::string& text, bool& still) {
    FileText read;
    still = true;
    struct stat status {};
    if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return read;
        read.found = Found::unreadable;
        read.reason = because_of(errno);
        return read;
    }
    read.link = S_ISLNK(status.st_mode);
    // Without waiting for somebody at the other end of a pipe.
    const http::Descriptor file(
        ::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file.valid() && errno == ENOENT && !read.link) return read;
    read.looked_at = file_clock();
    read.found = Found::unreadable;
    if (!file.valid() || ::fstat(file.get(), &status) != 0) {
        read.reason = because_of(errno);
        return read;
    }
    if (S_ISDIR(status.st_mode)) {
        read.found = Found::nothing;
        return read;
    }
    read.signature = signature_of(status);
    if (!S_ISREG(status.st_mode)) {
        read.reason = "is no regular file; a file of manifests is wanted";
    } else if (static_cast<std::uint64_t>(status.st_size) > kubernetes::kTextBytesMost) {
        read.reason = "has " + std::to_string(status.st_size) + " bytes; at most " +
                      std::to_string(kubernetes::kTextBytesMost) +
                      " are read; what it said last stays in force";
    } else if (!read_all(file.get(), static_cast<std::size_t>(status.st_size), text) ||
               ::fstat(file.get(), &status) != 0) {
        read.reason = because_of(errno);
    } else {
        read.found = Found::text;
        still = signature_of(status) == read.signature;
    }
    return read;
}

}  // namespace

bool is_manifest_name(std::string_view name) {
    return !name.starts_with('.') &&
           (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

Signature signature_of(const struct stat& status) {
    return {status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
            nanoseconds(status.st_ctim)};
}

std::optional<Signature> look_at(int directory, const std::string& name) {
    struct stat status {};
    if (::fstatat(directory, name.c_str(), &status, 0) != 0) return std::nullopt;
    return signature_of(status);
}

std::int64_t file_clock() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return nanoseconds(now);
}

bool is_settled(const Signature& signature, std::int64_t looked_at) {
    return signature.modified < looked_at - kSettled && signature.changed < looked_at - kSettled;
}

FileText read_file(int directory, const std::string& name, std::string& text) {
    for (int attempt = 1;; ++attempt) {
        bool still = true;
        auto read = read_once(directory, name, text, still);
        if (still) return read;
        if (attempt < kAttempts) continue;
        read.found = Found::changing;
        return read;
    }
}

std::optional<std::vector<std::string>> entries_of(int directory) {
    // A stream of its own, from the start.
    const int own = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0) return std::nullopt;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own), ::closedir);
    if (stream == nullptr) {
        ::close(own);
        return std::nullopt;
    }
    std::vector<std::string> names;
    while (true) {
        errno = 0;
        const auto* entry = ::readdir(stream.get());
        if (entry == nullptr) break;
        names.emplace_back(entry->d_name);
    }
    if (errno != 0) return std::nullopt;
    return names;
}

}  // namespace viaduct::source

// viaduct diff: what applying manifests would change, in the form that diff(1) gives it and by diff(1), as
// kubectl does.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>

#include <json/json.h>

#include "cli/manifest.h"

namespace viaduct::cli {

namespace {

/// Text that another program can read by a path.
class MemoryFile {
public:
    explicit MemoryFile(const std::string& text) : descriptor_(::memfd_create("viaduct-diff", 0)) {
        if (descriptor_ < 0)
            throw Failure(std::string("cannot make a file in memory: ") + std::strerror(errno));
        for (std::size_t at = 0; at < text.size();) {
            const auto written = ::write(descriptor_, text.data() + at, text.size() - at);
            if (written < 0) throw Failure(std::string("cannot write in memory: ") + std::strerror(errno));
            at += static_cast<std::size_t>(written);
        }
    }
    ~MemoryFile() { ::close(descriptor_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

private:
    int descriptor_;
};

void print_difference(const std::string& name, const std::string& before, const std::string& after) {
    const MemoryFile from(before);
    const MemoryFile to(after);
    std::array<std::string, 8> words{"diff",           "-u",        "--label", "in force: " + name, "--label",
                                     "to be: " + name, from.path(), to.path()};
    std::array<char*, 9> arguments{};
    for (std::size_t at = 0; at < words.size(); ++at)
        arguments[at] = words[at].data();
    std::cout.flush();
    pid_t child = 0;
    const int error = ::posix_spawnp(&child, "diff", nullptr, nullptr, arguments.data(), environ);
    if (error != 0)
        throw Failure(std::string("diff cannot be started: ") + std::strerror(error) +
                      "; install diffutils, or see \"viaduct -j diff\"");
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) throw Failure(std::string("cannot wait for diff: ") + std::strerror(errno));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) throw Failure("diff failed");
}

int diff(Session& session) {
    session.words.done();
    auto body = manifests_body(session);
    body["dry_run"] = true;
    const auto answer = session.ask("POST", "/v1/manifests", body);
    int status = 0;
    for (const auto& object : answer["objects"]) {
        if (text_of(object, "outcome") != "unchanged") status = 1;
    }
    if (session.printed(answer)) return status;
    for (const auto& object : answer["objects"]) {
        if (text_of(object, "outcome") == "unchanged") continue;
        const auto& before = object["before"];
        print_difference(object_name(object), before.isNull() ? "" : yaml_of(before),
                         yaml_of(object["after"]));
    }
    note_passed_over(answer);
    return status;
}

}  // namespace

Object diff_object() {
    return {
        "diff",
        "what applying manifests would change",
        {{"", {}, "-f FILE [-f FILE...]", "compare them with what was applied, line by line", diff}},
        "Exit status: 0 nothing would change, 1 something would or it failed, 2 not understood. Only what "
        "the network\nneeds of an object is kept and compared.\n",
        {"viaduct diff -f web.yaml", "viaduct diff -f web.yaml && echo 'nothing to do'"},
        true};
}

}  // namespace viaduct::cli

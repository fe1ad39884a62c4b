// Container engines are asked through their own command lines: they alone know where their state lies.
#include "cli/target.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>
#include <vector>

#include <linux/nsfs.h>

#include "viaduct/attachment.h"

#include "cli/words.h"

namespace viaduct::cli {

namespace {

constexpr std::size_t kOutputMost = 1U << 20U;

std::string read_all(int descriptor) {
    std::string text;
    std::array<char, 4096> part;
    for (ssize_t got = 1; got != 0 && text.size() < kOutputMost;) {
        got = ::read(descriptor, part.data(), part.size());
        if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
        if (got < 0 && errno != EINTR) break;
    }
    return text;
}

/// Standard output of a program that succeeded; nothing when it is not there or failed, and what it then said
/// is added to `said`. No shell is between.
std::optional<std::string> output_of(const std::vector<std::string>& words, std::string& said) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
    const http::Descriptor reading(ends[0]);
    http::Descriptor writing(ends[1]);
    const http::Descriptor errors(::memfd_create("errors", MFD_CLOEXEC));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (const auto& word : words)
        argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return std::nullopt;
    writing = http::Descriptor();
    auto text = read_all(reading.get());
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
    if (errors.valid() && ::lseek(errors.get(), 0, SEEK_SET) == 0) {
        auto why = read_all(errors.get());
        while (why.ends_with('\n'))
            why.pop_back();
        said += "\n" + words[0] + ": " + why.substr(why.find_last_of('\n') + 1);
    }
    return std::nullopt;
}

struct Container {
    std::string id;
    std::string name;
    std::string pid;  ///< "0" when it does not run
};

/// podman and docker, which take the same words.
std::optional<Container> inspect(const std::string& engine, const std::string& word, std::string& said) {
    const auto text = output_of(
        {engine, "inspect", "--type", "container", "--format", "{{.Id}} {{.State.Pid}} {{.Name}}", word},
        said);
    if (!text) return std::nullopt;
    Container container;
    std::istringstream(*text) >> container.id >> container.pid >> container.name;
    if (container.name.starts_with('/')) container.name.erase(0, 1);  // as docker writes them
    return container;
}

/// A task of containerd's, in any of its namespaces.
std::optional<Container> find_task(const std::string& word, std::string& said) {
    // ctr would wait for ten seconds for a daemon that is not there.
    const char* socket = std::getenv("CONTAINERD_ADDRESS");
    if (::access(socket != nullptr ? socket : "/run/containerd/containerd.sock", F_OK) != 0)
        return std::nullopt;
    std::istringstream spaces(output_of({"ctr", "namespaces", "ls", "-q"}, said).value_or(""));
    for (std::string space; std::getline(spaces, space);) {
        std::istringstream tasks(output_of({"ctr", "-n", space, "task", "ls"}, said).value_or(""));
        for (std::string line; std::getline(tasks, line);) {
            Container container;
            std::string status;
            std::istringstream(line) >> container.id >> container.pid >> status;
            if (container.id != word) continue;
            container.name = word;
            if (status == "STOPPED") container.pid = "0";
            return container;
        }
    }
    return std::nullopt;
}

http::Descriptor open_namespace(const std::string& word, const std::string& path) {
    // Not blocking: it may be a pipe.
    http::Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!netns.valid()) throw Failure(word + ": cannot open " + path + ": " + std::strerror(errno));
    if (::ioctl(netns.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
        throw Failure(word + ": " + path + " is not a network namespace");
    return netns;
}

bool is_number(const std::string& text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string name_of_path(const std::string& path) {
    auto name = path.substr(path.find_last_of('/') + 1);
    if (name == "net") {
        name = path.substr(1);
        std::replace(name.begin(), name.end(), '/', '-');
    }
    return name;
}

Target find_target(const std::string& word) {
    const auto named = "/run/netns/" + word;
    if (word.find('/') != std::string::npos) {
        const auto name = name_of_path(word);
        if (word[0] != '/' || !attachment::is_identifier(name))
            throw Failure("\"" + word +
                          "\" is no absolute path of a network namespace, such as /run/netns/web");
        return {name, "", word, open_namespace(word, word)};
    }
    if (is_number(word)) {
        const auto path = "/proc/" + word + "/ns/net";
        return {"pid-" + word, "", path, open_namespace("process " + word, path)};
    }
    if (!attachment::is_identifier(word))
        throw Failure("\"" + word + "\" is no name that a network namespace or a container can have");
    if (::access(named.c_str(), F_OK) == 0) return {word, "", named, open_namespace(word, named)};
    std::string said;
    for (const char* engine : {"podman", "docker", "ctr"}) {
        const auto container =
            std::string_view(engine) == "ctr" ? find_task(word, said) : inspect(engine, word, said);
        if (!container || !attachment::is_identifier(container->id)) continue;
        if (!is_number(container->pid) || container->pid == "0")
            throw Failure("container " + word + " of " + engine + " does not run; start it first");
        const auto path = "/proc/" + container->pid + "/ns/net";
        return {container->id, container->name, path, open_namespace("container " + word, path)};
    }
    throw Failure("\"" + word +
                  "\" is neither a network namespace in /run/netns, nor a process's number, nor a "
                  "container that podman, docker or ctr know here" +
                  said);
}

}  // namespace viaduct::cli

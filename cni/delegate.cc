#include "delegate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <json/json.h>

#include "viaduct/json.h"

#include "error.h"

namespace viaduct::cni {

namespace {

[[noreturn]] void fail(const std::string& what) {
    throw Error(attachment::kDelegateFailed, what);
}

std::string find_plugin(const std::string& type, const std::string& path) {
    for (std::size_t at = 0; at <= path.size();) {
        const auto end = std::min(path.find(':', at), path.size());
        auto file = path.substr(at, end - at);
        at = end + 1;
        if (file.empty()) continue;
        file.append("/").append(type);
        struct stat status {};
        if (::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
            ::access(file.c_str(), X_OK) == 0) {
            return file;
        }
    }
    fail("the IPAM plugin \"" + type + "\" is in none of the directories of CNI_PATH (" + path + ")");
}

/// Our own environment with CNI's variables replaced.
std::vector<std::string> environment_of(const Invocation& invocation) {
    const std::pair<const char*, const std::string*> ours[] = {
        {"CNI_COMMAND", &invocation.command}, {"CNI_CONTAINERID", &invocation.container},
        {"CNI_NETNS", &invocation.netns},     {"CNI_IFNAME", &invocation.ifname},
        {"CNI_ARGS", &invocation.args},       {"CNI_PATH", &invocation.path},
    };
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string text = *variable;
        bool replaced = false;
        for (const auto& [name, value] : ours)
            replaced |= text.starts_with(std::string(name) + "=");
        if (!replaced) variables.push_back(text);
    }
    for (const auto& [name, value] : ours)
        variables.push_back(std::string(name) + "=" + *value);
    return variables;
}

struct Pipe {
    http::Descriptor reading;
    http::Descriptor writing;
    Pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) fail(std::string("cannot make a pipe: ") + std::strerror(errno));
        reading = http::Descriptor(ends[0]);
        writing = http::Descriptor(ends[1]);
    }
};

pid_t start(const std::string& file, const Invocation& invocation, const Pipe& input, const Pipe& output) {
    auto texts = environment_of(invocation);
    std::vector<char*> variables;
    variables.reserve(texts.size() + 1);
    for (auto& text : texts)
        variables.push_back(text.data());
    variables.push_back(nullptr);
    std::string name = file;
    char* arguments[] = {name.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.reading.get(), 0);
    posix_spawn_file_actions_adddup2(&actions, output.writing.get(), 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    pid_t child = -1;
    const int error = ::posix_spawn(&child, file.c_str(), &actions, &attributes, arguments, variables.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail("cannot run " + file + ": " + std::strerror(error));
    return child;
}

/// Writes and reads at once: a plugin may answer before it has read everything.
std::string converse(Pipe& input, Pipe& output, std::string_view text) {
    input.reading = http::Descriptor();
    output.writing = http::Descriptor();
    ::fcntl(input.writing.get(), F_SETFL, O_NONBLOCK);
    std::string answer;
    for (;;) {
        if (text.empty()) input.writing = http::Descriptor();
        pollfd ends[2] = {{output.reading.get(), POLLIN, 0}, {input.writing.get(), POLLOUT, 0}};
        if (::poll(ends, 2, -1) < 0 && errno != EINTR) return answer;
        if (ends[1].revents != 0) {
            const auto written = ::write(input.writing.get(), text.data(), text.size());
            if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
            if (written < 0 && errno != EAGAIN && errno != EINTR) text = {};  // it reads no more
        }
        if (ends[0].revents == 0) continue;
        char buffer[4096];
        const auto got = ::read(output.reading.get(), buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return answer;
        // What is too long is read to its end all the same, so that the plugin ends, and refused later.
        if (answer.size() <= kInputMost) answer.append(buffer, static_cast<std::size_t>(got));
    }
}

[[noreturn]] void pass_error_on(const std::string& type, const std::string& answer, int status) {
    const auto subject = "the IPAM plugin \"" + type + "\" ";
    Faults faults;
    try {
        const auto json = parse_json(answer, "error", {kInputMost, 32});
        ObjectReader reader(json, "error", faults, ObjectReader::Keys::any_case);
        const auto code = reader.integer("code", 0, UINT32_MAX);
        const auto message = reader.string("msg", 65536);
        const auto details = reader.string("details", 65536);
        if (faults.empty() && code && message) {
            throw Error(static_cast<unsigned>(*code), subject + "failed: " + *message, details.value_or(""));
        }
    } catch (const Refused&) {
        // Told below.
    }
    const auto how = WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                         : "ended with status " + std::to_string(WEXITSTATUS(status));
    fail(subject + how + (answer.empty() ? "" : ": " + answer.substr(0, 512)));
}

}  // namespace

LifeLine::LifeLine() {
    Pipe pipe;
    reading = std::move(pipe.reading);
    writing = std::move(pipe.writing);
    ::fcntl(writing.get(), F_SETFD, 0);
}

std::string run_delegate(const std::string& type, const Invocation& invocation, const std::string& input) {
    const auto file = find_plugin(type, invocation.path);
    Pipe to;
    Pipe from;
    const auto child = start(file, invocation, to, from);
    auto answer = converse(to, from, input);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) pass_error_on(type, answer, status);
    if (answer.size() > kInputMost) fail("the IPAM plugin \"" + type + "\" printed more than a megabyte");
    return answer;
}

}  // namespace viaduct::cni

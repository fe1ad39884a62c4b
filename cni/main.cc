// viaduct-cni: the CNI plugin. Reads the environment and standard input, asks control, and prints one JSON
// object or nothing: a result, or an error with a non-zero exit status. Nothing else ever goes to standard
// output.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include <json/json.h>

#include "viaduct/json.h"

#include "commands.h"
#include "environment.h"
#include "error.h"
#include "network_config.h"
#include "result.h"

namespace {

using namespace viaduct;
using namespace viaduct::cni;

std::string read_input() {
    std::string text;
    char buffer[65536];
    while (text.size() <= kInputMost) {
        const auto got = ::read(STDIN_FILENO, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            throw Error(attachment::kIo, std::string("cannot read standard input: ") + std::strerror(errno));
        }
        if (got == 0) return text;
        text.append(buffer, static_cast<std::size_t>(got));
    }
    throw Error(attachment::kDecoding, "the network configuration on standard input is longer than " +
                                           std::to_string(kInputMost) + " bytes");
}

/// VERSION needs no input, and answers in the version that it names when there is one at once.
std::string version_asked() {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(100);
    std::string text;
    if (::isatty(STDIN_FILENO) == 0) {
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
            pollfd input{STDIN_FILENO, POLLIN, 0};
            if (left <= 0 || ::poll(&input, 1, static_cast<int>(left)) <= 0) break;
            char buffer[4096];
            const auto got = ::read(STDIN_FILENO, buffer, sizeof buffer);
            if (got <= 0 || text.size() > kInputMost) break;
            text.append(buffer, static_cast<std::size_t>(got));
        }
    }
    try {
        Faults faults;
        const auto json = parse_json(text, "input", {kInputMost, 32});
        ObjectReader reader(json, "", faults, ObjectReader::Keys::any_case);
        const auto asked = reader.string("cniVersion").value_or("");
        for (const auto& known : versions()) {
            if (asked == known) return known;
        }
    } catch (const Refused&) {
        // No input that could be understood: the newest version, then.
    }
    return versions().back();
}

/// False when it could not be written: the runtime must not take silence for success.
bool print(const std::string& text) {
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto written = ::write(STDOUT_FILENO, rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

std::string run(std::string& version) {
    const auto environment = read_environment([](const char* name) { return std::getenv(name); });
    if (environment.command == Command::version) return version_text(version_asked());
    const auto network = read_network(read_input(), version);
    return run_command(environment, network);
}

}  // namespace

int main() {
    ::signal(SIGPIPE, SIG_IGN);
    auto version = versions().back();
    try {
        const auto text = run(version);
        if (text.empty()) return 0;
        return print(text + "\n") ? 0 : 1;
    } catch (const Error& error) {
        print(error_text(error, version) + "\n");
    } catch (const std::exception& error) {
        print(error_text(Error(attachment::kInternal, error.what()), version) + "\n");
    }
    return 1;
}

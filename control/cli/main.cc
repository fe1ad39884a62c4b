// viaduct: the command line. Objects and their commands are found by any unique beginning of their names.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "viaduct/fault.h"

#include "cli/session.h"

namespace {

using namespace viaduct;
using namespace viaduct::cli;

constexpr const char* kOptions =
    "Options:\n"
    "  -j, --json        print JSON, for programs; -p indents it\n"
    "  -s, --statistics  with counters (link)\n"
    "  --socket PATH     control's API; default $VIADUCT_SOCKET or /run/viaduct/control.sock\n"
    "  --dry-run         check a change, here and in the dataplane, and say what it would do\n"
    "  --comment TEXT    words kept with the change in \"viaduct config history\"\n"
    "  -h, --help        at every level: viaduct --help, viaduct port --help\n"
    "  -V, --version\n"
    "\n"
    "Objects, commands and keywords may be shortened to any unique beginning. Exit status: 0 done, 1 refused "
    "or\n"
    "failed, 2 not understood.\n";

const std::vector<Object>& objects() {
    static const std::vector<Object> all = {
        link_object(),     bridge_object(), net_object(),    service_object(), endpoint_object(),
        port_object(),     uplink_object(), fdb_object(),    vrf_object(),     interface_object(),
        addr_object(),     route_object(),  neigh_object(),  nat_object(),     flow_object(),
        timeouts_object(), pod_object(),    stats_object(),  trace_object(),   config_object(),
        log_object(),      apply_object(),  delete_object(), diff_object(),    get_object()};
    return all;
}

void print_help() {
    std::cout << "viaduct: look at and change this node's network\n\n"
                 "Usage: viaduct [OPTION...] OBJECT [COMMAND [ARGUMENT...]]\n\nObjects:\n";
    std::cout << "  replay    run a capture through the dataplane; see \"viaduct replay --help\"\n";
    for (const auto& object : objects()) {
        std::cout << "  " << object.name << std::string(10 - object.name.size(), ' ') << object.summary
                  << "\n";
    }
    std::cout << "\n" << kOptions << "\nExamples:\n";
    for (const auto& object : objects())
        std::cout << "  " << object.examples.front() << "\n";
}

void print_help(const Object& object) {
    std::cout << "viaduct " << object.name << ": " << object.summary << "\n\nCommands:\n";
    for (const auto& command : object.commands) {
        std::cout << "  viaduct " << object.name << (command.name.empty() ? "" : " ") << command.name
                  << (command.syntax.empty() ? "" : " ") << command.syntax << "\n      " << command.summary
                  << "\n";
    }
    if (!object.notes.empty()) std::cout << "\n" << object.notes;
    std::cout << "\nExamples:\n";
    for (const auto& example : object.examples)
        std::cout << "  " << example << "\n";
    std::cout << "\n" << kOptions;
}

const Object& find_object(const std::string& word) {
    std::vector<std::string_view> all;
    std::vector<std::string_view> nouns;
    for (const auto& object : objects()) {
        all.emplace_back(object.name);
        if (object.name == word) return object;
        if (!object.verb) nouns.emplace_back(object.name);
    }
    const bool begins_noun =
        std::any_of(nouns.begin(), nouns.end(), [&](auto name) { return name.starts_with(word); });
    const auto name = begins_noun ? nouns[match(word, nouns, "object")] : all[match(word, all, "object")];
    return *std::find_if(objects().begin(), objects().end(),
                         [&](const Object& object) { return object.name == name; });
}

const Command& find_command(const Object& object, const std::string& word) {
    std::vector<std::string_view> names;
    for (const auto& command : object.commands) {
        for (const auto& alias : command.aliases) {
            if (alias == word) return command;
        }
        names.emplace_back(command.name);
    }
    return object.commands[match(word, names, "command of \"viaduct " + object.name + "\"")];
}

int run(const std::vector<std::string>& words) {
    const char* socket = std::getenv("VIADUCT_SOCKET");
    Session session(parse_arguments(words, socket != nullptr ? socket : "/run/viaduct/control.sock"));
    if (session.arguments.version) {
        std::cout << VIADUCT_VERSION << "\n";
        return 0;
    }
    if (session.words.empty() || session.words.peek() == "help") {
        print_help();
        // Nothing was asked for: that is a mistake, unless help was.
        return session.arguments.help || !session.words.empty() ? 0 : 2;
    }
    const auto& object = find_object(session.words.take("an object"));
    if (session.arguments.help || (!session.words.empty() && session.words.peek() == "help")) {
        print_help(object);
        return 0;
    }
    if (object.commands.front().name.empty()) return object.commands.front().run(session);
    // What has a '/' is an object's name, of which no command has one.
    if (session.words.empty() || session.words.peek().find('/') != std::string::npos)
        return object.commands.front().run(session);
    return find_command(object, session.words.take("a command")).run(session);
}

/// A replay needs a whole dataplane, so it is a program of its own, which lies beside this one, or in a build
/// among the dataplane's. Returns only when it cannot be started.
int replay(char** argv) {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    for (const auto& directory : {self.parent_path(), self.parent_path().parent_path() / "dataplane"})
        ::execv((directory / "viaduct-replay").c_str(), argv + 1);
    ::execvp("viaduct-replay", argv + 1);
    throw Failure(std::string("viaduct-replay cannot be started: ") + std::strerror(errno));
}

/// "viaduct: " before each line, so that every fault is a sentence of its own.
int tell(const std::string& text, int status) {
    std::size_t start = 0;
    while (start <= text.size()) {
        const auto end = std::min(text.find('\n', start), text.size());
        std::cerr << "viaduct: " << text.substr(start, end - start) << "\n";
        start = end + 1;
    }
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc > 1 && std::string_view(argv[1]) == "replay") return replay(argv);
        const int status = run({argv + 1, argv + argc});
        std::cout.flush();
        return std::cout.good() ? status : tell("cannot write to standard output", 1);
    } catch (const Usage& error) {
        return tell(error.what(), 2);
    } catch (const Refused& refused) {
        return tell(words_of(refused.faults()), 1);
    } catch (const std::exception& error) {
        return tell(error.what(), 1);
    }
}

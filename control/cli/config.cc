// viaduct config: the configuration as a whole, and its history.
#include <fstream>
#include <iostream>
#include <iterator>

#include <json/json.h>

#include "viaduct/json.h"

#include "cli/session.h"

namespace viaduct::cli {

namespace {

constexpr std::uint64_t kNumberMost = INT64_MAX;

/// A configuration as what made it, for people.
Json::Value as_change(const Json::Value& config) {
    Json::Value change;
    change["put"] = config;
    return change;
}

int history(Session& session) {
    std::string target = "/v1/config/history";
    if (!session.words.empty())
        target += "?limit=" + std::to_string(session.words.number("how many", 1, 20000));
    session.words.done();
    const auto answer = session.ask("GET", target);
    if (session.printed(answer["generations"])) return 0;
    Table table({"GENERATION", "TIME", "KIND", "COMMENT"});
    for (const auto& one : answer["generations"]) {
        table.add({text_of(one, "generation"), text_of(one, "time"), text_of(one, "kind"),
                   text_of(one, "comment")});
    }
    std::cout << table.text();
    return 0;
}

int show(Session& session) {
    if (session.words.empty()) {
        const auto config = session.ask("GET", "/v1/config");
        if (session.printed(config)) return 0;
        std::cout << "generation " << number_of(config, "generation") << "\n"
                  << diff_text(by_object(as_change(config)));
        return 0;
    }
    const auto number = session.words.number("generation", 1, kNumberMost);
    session.words.done();
    const auto generation = session.ask("GET", "/v1/config/generations/" + std::to_string(number));
    if (session.printed(generation)) return 0;
    std::cout << "generation " << number << " " << text_of(generation, "time") << " "
              << text_of(generation, "kind");
    if (const auto comment = text_of(generation, "comment"); !comment.empty()) std::cout << ": " << comment;
    std::cout << "\n" << diff_text(generation["changes"]);
    return 0;
}

int diff(Session& session) {
    std::string target = "/v1/config/diff";
    if (!session.words.empty())
        target += "?from=" + std::to_string(session.words.number("generation", 0, kNumberMost));
    if (!session.words.empty())
        target += "&to=" + std::to_string(session.words.number("generation", 0, kNumberMost));
    session.words.done();
    const auto answer = session.ask("GET", target);
    if (!session.printed(answer)) std::cout << diff_text(answer["changes"]);
    return 0;
}

int rollback(Session& session) {
    Json::Value body;
    body["generation"] = Json::UInt64(session.words.number("generation", 0, kNumberMost));
    session.words.done();
    return session.change(body, "POST", "/v1/config/rollback");
}

std::string read_file(const std::string& path) {
    if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
    std::ifstream file(path);
    if (!file) throw Failure("cannot open " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

int apply(Session& session) {
    if (session.arguments.file.empty() && !session.words.empty())
        session.arguments.file = session.words.take("a file");
    session.words.done();
    if (session.arguments.file.empty()) throw Usage("needs \"-f FILE\" (\"-\" for standard input)");
    auto body = parse_json(read_file(session.arguments.file), session.arguments.file);
    if (!body.isObject()) throw Failure(session.arguments.file + " must hold a JSON object");
    // What "config show" prints may be put back.
    body.removeMember("generation");
    const bool is_change = body.isMember("put") || body.isMember("delete");
    return is_change ? session.change(body) : session.change(body, "PUT", "/v1/config");
}

}  // namespace

Object config_object() {
    return {
        "config",
        "the configuration as a whole, and its history",
        {{"show", {"list", "ls"}, "[GENERATION]", "all objects now, or what a generation changed", show},
         {"history", {}, "[HOW-MANY]", "accepted changes, newest first (default 50)", history},
         {"diff",
          {},
          "[FROM [TO]]",
          "what changed between two generations; default: the newest change",
          diff},
         {"rollback",
          {},
          "GENERATION",
          "make the configuration what it was then; pods are not touched",
          rollback},
         {"apply",
          {},
          "-f FILE",
          "make the configuration what FILE says, or carry out the change that it is",
          apply}},
        "FILE is JSON: a whole configuration {\"bridges\": [...], \"ports\": [...], \"routes\": [...], ...} "
        "as "
        "\"viaduct -j\nconfig show\" prints it, or a change {\"put\": {...}, \"delete\": {\"bridges\": "
        "[NAMES], "
        "\"routes\": [{\"vrf\": ...,\n\"prefix\": ...}], ...}}.\n"
        "Generation 0 is the empty configuration.\n",
        {"viaduct config history", "viaduct config diff 3 7", "viaduct config rollback 3 --dry-run",
         "viaduct -j config show > saved.json && viaduct config apply -f saved.json --comment 'as it was'"}};
}

}  // namespace viaduct::cli

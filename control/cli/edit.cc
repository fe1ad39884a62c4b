// Named objects: looked up in the configuration, read from words, checked, sent.
#include "cli/edit.h"

#include <json/json.h>

#include "viaduct/model_kinds.h"

namespace viaduct::cli {

namespace {

std::string command_of(const Edited& edited, const char* command) {
    return std::string("\"viaduct ") + edited.object + (*command != 0 ? " " : "") + command;
}

std::string take_name(Session& session, const Edited& edited) {
    return session.words.take(std::string("the ") + edited.noun + "'s name");
}

}  // namespace

int put_object(Session& session, const std::string& list, const Json::Value& object) {
    Faults faults;
    model::for_each_kind([&](const auto& kind) {
        if (kind.name == list) kind.read(object, place_in(list, object), faults);
    });
    if (!faults.empty()) throw Refused(faults);
    Json::Value body;
    body["put"][list].append(object);
    return session.change(body);
}

int add_named(Session& session, const Edited& edited) {
    Json::Value object;
    const auto name = take_name(session, edited);
    object["name"] = name;
    edited.settings(session.words, object);
    if (find_named(session.ask("GET", std::string("/v1/config?only=") + edited.list)[edited.list], name) !=
        nullptr) {
        throw Failure(std::string(edited.noun) + " " + name + " exists already; change it with " +
                      command_of(edited, "set ") + name + " ...\"");
    }
    return put_object(session, edited.list, object);
}

int set_named(Session& session, const Edited& edited) {
    const auto name = take_name(session, edited);
    const auto config = session.ask("GET", std::string("/v1/config?only=") + edited.list);
    const auto* present = find_named(config[edited.list], name);
    if (present == nullptr) {
        throw Failure(std::string(edited.noun) + " " + name + " is not configured; make it with " +
                      command_of(edited, "add ") + name + " ...\"");
    }
    auto object = *present;
    edited.settings(session.words, object);
    return put_object(session, edited.list, object);
}

int delete_named(Session& session, const Edited& edited) {
    Json::Value body;
    body["delete"][edited.list].append(take_name(session, edited));
    session.words.done();
    return session.change(body);
}

Json::Value shown_objects(Session& session, const Edited& edited) {
    const auto wanted = session.words.take_if_any();
    session.words.done();
    const auto desired = session.ask("GET", std::string("/v1/config/desired?only=") + edited.list);
    Json::Value shown(Json::arrayValue);
    for (const auto& object : desired[edited.list]) {
        if (!wanted || text_of(object, "name") == *wanted) shown.append(object);
    }
    if (wanted && shown.empty()) {
        throw Failure(std::string(edited.noun) + " " + *wanted + " does not exist; " +
                      command_of(edited, "") + "\" lists those that do");
    }
    return shown;
}

bool take_switch(Words& words, const std::string& what) {
    return match(words.take("on or off"), {"on", "off", "1", "0"}, what) % 2 == 0;
}

const char* switch_word(bool on) {
    return on ? "on" : "off";
}

}  // namespace viaduct::cli

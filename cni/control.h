// The plugin's conversation with control over its Unix socket.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "viaduct/attachment.h"
#include "viaduct/http.h"

namespace viaduct::cni {

/// Each call throws Error: control's own code and sentence, or 11 when nobody answers there.
class Control {
public:
    explicit Control(const std::string& socket);

    struct Begun {
        std::string token;
        std::vector<attachment::Owed> owed;
    };

    attachment::Attached add(const attachment::Request& request, int netns);
    Begun begin(const attachment::Key& key, const attachment::Delegation& delegation, int life);
    void finish(const std::string& token);
    /// `netns`: -1 for none. Returns the delegated DELs that are owed.
    std::vector<attachment::Owed> remove(const attachment::Key& key, int netns);
    void check(const attachment::Expected& expected, int netns);
    std::vector<attachment::Owed> collect(const std::string& network,
                                          const std::vector<std::pair<std::string, std::string>>& valid);
    void status(const attachment::Request& request);

private:
    Json::Value ask(const std::string& verb, const Json::Value& body, int descriptor = -1);

    std::string socket_;
    http::Client client_;
};

}  // namespace viaduct::cni

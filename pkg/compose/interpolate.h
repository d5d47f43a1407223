// Variables of compose files and of .env files, as the Compose specification has them (12-interpolation.md):
//   $NAME ${NAME}   ${NAME:-word} ${NAME-word}   ${NAME:?text} ${NAME?text}   ${NAME:+word} ${NAME+word}   $$ is $
// Words may hold variables themselves.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "codec/json.h"

namespace monopod::compose {

using FindVariable = std::function<std::optional<std::string>(std::string_view name)>;

// kInvalidArgument "invalid interpolation format for \"...\"", and for a required variable that is missing its text. The result is at most 1 MiB.
Result<std::string> interpolate(std::string_view text, const FindVariable& find);
// Every text of the tree, keys left as they are. Errors name the place: "services.web.image: ...".
Result<> interpolate_all(json::Value& tree, const FindVariable& find);

// Lines NAME=value, export NAME=value; 'as it is', "with \n and ${variables}", value # comment. find is asked for what no line above has set.
Result<std::map<std::string, std::string>> parse_dotenv(std::string_view text, const FindVariable& find);

}  // namespace monopod::compose

#include "build/stages.h"

#include <gtest/gtest.h>

#include "build/image_state.h"
#include "build/limits.h"
#include "build/mounts.h"

namespace monopod::build {
namespace {

const image::Platform kPlatform{.os = "linux", .architecture = "arm64", .variant = "v8"};

Result<Plan> plan(const Dockerfile& file, const std::string& target = "", const std::map<std::string, std::string>& arguments = {}) { return plan_stages(file, arguments, target, kPlatform); }

TEST(Stages, OnlyWhatTheTargetNeedsIsBuilt) {
  auto file = parse_dockerfile(
      "ARG TAG=1\nARG FULL=base:${TAG}\n"
      "FROM $FULL AS One\nFROM scratch\nFROM one AS two\nRUN --mount=type=bind,from=1,target=/x true\nFROM busybox\nCOPY --from=TWO a b\nCOPY --from=image:1 a b\n");
  ASSERT_TRUE(file);
  auto all = plan(*file);
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->stages[0].base, "base:1");
  EXPECT_EQ(all->stages[0].name, "one");
  EXPECT_EQ(all->stages[2].base_stage, 0);
  EXPECT_EQ(all->order, (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_EQ(plan(*file, "one")->order, (std::vector<std::size_t>{0}));
  EXPECT_EQ(plan(*file, "2")->order, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(plan(*file, "", {{"TAG", "9"}})->stages[0].base, "base:9");
  EXPECT_EQ(all->global_arguments.at("TARGETPLATFORM"), "linux/arm64/v8");
  EXPECT_EQ(plan(*file, "four").error().message(), "target stage \"four\" could not be found");
}

TEST(Stages, WrongOnesAreNamed) {
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : std::initializer_list<Case>{{"FROM a b", "1:1: FROM requires either one or three arguments"},
                                                   {"FROM $NONE", "1:1: base name ($NONE) should not be blank"},
                                                   {"FROM a AS 1x", "1:1: invalid name for build stage: \"1x\": it starts with a letter"},
                                                   {"FROM a AS x\nFROM b AS X", "2:1: stage name \"x\" is used twice"},
                                                   {"FROM a AS x\nCOPY --from=X a b", "2:1: stage x refers to itself: circular dependency"},
                                                   {"FROM a\nCOPY --from=0 a b", "2:1: stage 0 refers to itself: circular dependency"},
                                                   {"FROM a\nCOPY --from=y a b\nFROM b AS y", "2:1: stage \"y\" is defined later: a stage uses those before it"},
                                                   {"ARG A=${B:?no}\nFROM a", "1:1: B: no"}}) {
    auto file = parse_dockerfile(c.text);
    ASSERT_TRUE(file) << c.text;
    auto planned = plan(*file);
    ASSERT_FALSE(planned) << c.text;
    EXPECT_EQ(planned.error().message(), c.error);
  }
  std::string many;
  for (std::size_t i = 0; i <= kStagesMax; ++i) many += "FROM a\n";
  EXPECT_EQ(plan(*parse_dockerfile(many)).error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(plan(*parse_dockerfile(many.substr(7))));
}

Result<> apply(ImageState& state, std::string_view line) {
  auto file = parse_dockerfile("FROM a\n" + std::string(line));
  if (!file) return fail(file.error());
  return state.apply(file->instructions.back(), [&state](std::string_view name) { return state.find_env(name); }, {});
}

TEST(ImageState, InstructionsChangeTheConfiguration) {
  ImageState state = *ImageState::from_config(R"({"architecture":"arm64","os":"linux","x":1,"rootfs":{},"config":{"Cmd":["old"],"Env":["A=0"],"OnBuild":["RUN x"]}})");
  EXPECT_EQ(state.take_triggers(), (std::vector<std::string>{"RUN x"}));
  for (const char* line : {"ENV A=1 B=$A", "ENV C two words", "LABEL l=$B", "USER $A", "EXPOSE 80/UDP 90-91", "VOLUME [\"/v\"]", "STOPSIGNAL 9", "HEALTHCHECK --timeout=1m CMD [\"x\"]", "ENTRYPOINT [\"e\"]"})
    EXPECT_TRUE(apply(state, line)) << line;
  EXPECT_EQ(*state.set_working_dir("/a/../b"), "/b");
  EXPECT_EQ(*state.set_working_dir("c"), "/b/c");
  EXPECT_EQ(state.absolute_path("d/"), "/b/c/d/");
  EXPECT_EQ(state.absolute_path("."), "/b/c/");
  EXPECT_EQ(state.absolute_path("../../.."), "/");
  state.add_history("RUN x", false);
  EXPECT_EQ(state.config("T"),
            R"({"architecture":"arm64","os":"linux","x":1,"config":{"Entrypoint":["e"],"Env":["A=1","B=0","C=two words"],"Labels":{"l":"0"},"User":"1","ExposedPorts":{"80/udp":{},"90/tcp":{},"91/tcp":{}},"Volumes":{"/v":{}},"StopSignal":"9","Healthcheck":{"Test":["CMD","x"],"Timeout":60000000000},"WorkingDir":"/b/c"},"history":[{"created_by":"RUN x","comment":"monopod image build","created":"T"}],"created":"T"})");
  EXPECT_EQ(state.layers_only(), R"({"architecture":"arm64","os":"linux"})");
}

TEST(ImageState, HistoryFitsTheLayers) {
  auto steps = [](std::string_view history) { return ImageState::from_config("{\"rootfs\":{\"diff_ids\":[1,2]},\"history\":" + std::string(history) + "}")->config(""); };
  constexpr std::string_view kFiller = R"({"comment":"layer of the base image"})";
  EXPECT_EQ(steps("[]"), R"({"history":[)" + std::string(kFiller) + "," + std::string(kFiller) + "]}");
  EXPECT_EQ(steps(R"([{"empty_layer":true},{"created_by":"x"}])"), R"({"history":[)" + std::string(kFiller) + R"(,{"empty_layer":true},{"created_by":"x"}]})");
  EXPECT_EQ(steps(R"([{},{"created_by":"x"}])"), R"({"history":[{},{"created_by":"x"}]})");
  EXPECT_EQ(steps("[{},{},{}]"), R"({"history":[)" + std::string(kFiller) + "," + std::string(kFiller) + "]}");
}

TEST(ImageState, EntrypointForgetsTheBasesCommandOnly) {
  ImageState state = *ImageState::from_config(R"({"config":{"Cmd":["old"]}})");
  EXPECT_TRUE(apply(state, "CMD [\"new\"]"));
  EXPECT_TRUE(apply(state, "ENTRYPOINT x"));
  EXPECT_NE(state.config("").find(R"("Cmd":["new"])"), std::string::npos);
  EXPECT_NE(state.config("").find(R"("Entrypoint":["/bin/sh","-c","x"])"), std::string::npos);
}

TEST(ImageState, WrongValuesAreNamed) {
  ImageState state = ImageState::scratch(kPlatform);
  struct Case {
    const char *line, *error;
  };
  for (const Case& c : std::initializer_list<Case>{{"EXPOSE 0", "invalid containerPort: 0"}, {"EXPOSE 65536", "invalid containerPort: 65536"}, {"EXPOSE 9-8", "invalid containerPort: 9-8"}, {"EXPOSE 1/x", "invalid containerPort: 1/x"},
                                                   {"HEALTHCHECK RUN x", "HEALTHCHECK: unknown type RUN: want CMD or NONE"}, {"HEALTHCHECK --interval=x CMD y", "--interval=x: not a duration"}, {"HEALTHCHECK --retries=-1 CMD y", "--retries=-1: not a count"},
                                                   {"SHELL []", "SHELL requires at least one argument"}, {"USER $none", "USER: the value is empty"}, {"ENV A", "A must have two arguments"}, {"ONBUILD FROM x", "2:1: FROM isn't allowed as an ONBUILD trigger"}}) {
    auto done = apply(state, c.line);
    ASSERT_FALSE(done) << c.line;
    EXPECT_EQ(done.error().message(), c.error);
  }
  EXPECT_FALSE(ImageState::from_config("[]"));
}

TEST(RunMount, WordsAreRead) {
  auto cache = parse_run_mount("type=cache,target=sub,mode=0700,uid=5,sharing=locked", "/w");
  ASSERT_TRUE(cache);
  EXPECT_EQ(cache->target, "/w/sub");
  EXPECT_EQ(cache->id, "/w/sub");
  EXPECT_EQ(cache->mode, 0700U);
  EXPECT_FALSE(cache->read_only);
  EXPECT_TRUE(parse_run_mount("target=/x", "/")->read_only);
  EXPECT_FALSE(parse_run_mount("target=/x,rw", "/")->read_only);
  EXPECT_EQ(parse_run_mount("type=secret,id=k", "/")->target, "/run/secrets/k");
  EXPECT_EQ(parse_run_mount("type=secret,id=k,env=K", "/")->target, "");
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : std::initializer_list<Case>{{"type=ssh,uid=1", "mount: mode, uid and gid of type=ssh are not supported: the agent's socket is mounted as it is"}, {"type=x,target=/", "mount: unsupported type \"x\""}, {"type=bind", "mount: target is missing"}, {"target=/x,foo=1", "mount: unexpected key \"foo\" for type bind"},
                                                   {"type=cache,target=/x,mode=9", "mount: mode=9: not a number"}, {"type=cache,target=/x,sharing=x", "mount: sharing=x: want shared, private or locked"}, {"target=/x,ro=maybe", "mount: ro=maybe: want true or false"}, {"type=secret", "mount: a secret needs an id"}}) {
    auto mount = parse_run_mount(c.text, "/");
    ASSERT_FALSE(mount) << c.text;
    EXPECT_EQ(mount.error().message(), c.error);
  }
}

}  // namespace
}  // namespace monopod::build

"""Help, versions, and what a mistyped command line is told."""
from __future__ import annotations

import os
import re
import subprocess

import pytest
from harness.command import fails, sluice, works
from harness.process import BUILD, ROOT

COMMANDS = ["dev", "init", "run", "relay", "gateway", "doctor", "status", "tail", "lag", "explain",
            "verify", "dead-letter list", "dead-letter show", "dead-letter redrive",
            "dead-letter drop", "pause", "resume", "config lint", "config show"]


def test_without_a_command_the_overview_goes_to_stderr() -> None:
    assert "sluice dev" in fails(status=2)


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_lists_every_command_and_nothing_that_comes_later(words: list[str]) -> None:
    text = works(*words)
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", text, re.M), command
    assert not re.search(r"\b(replay|bench)\b", text)
    assert "exit status: 0 done, 1 failed" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_helps_with_examples_first(command: str) -> None:
    text = works("help", *command.split())
    assert text == works(*command.split(), "--help")
    assert text.startswith(f"usage: sluice {command} ")
    examples = text.split("examples:\n")[1]
    assert examples.strip().startswith(("sluice ", "SLUICE_"))


@pytest.mark.parametrize("words", [["help", "dead-letter"], ["dead-letter", "--help"]])
def test_help_for_a_group_lists_its_commands(words: list[str]) -> None:
    assert "sluice dead-letter redrive" in works(*words)


def test_help_config_names_each_key_with_its_variable() -> None:
    text = works("help", "config")
    for key in ["database", "relay.attempts_max", "gateway.heartbeat", "console.listen"]:
        assert f"\n  {key}\n" in text
        assert f"SLUICE_{key.upper().replace('.', '_')}\n" in text
    assert "gateway.routes" in text


def test_version_is_one_line() -> None:
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", works("--version"))


@pytest.mark.parametrize("words, wanted", [
    (["tial"], "there is no command 'tial'; did you mean 'tail'?"),
    (["config", "lit"], "there is no command 'config lit'; did you mean 'config lint'?"),
    (["deadletter", "list"], "did you mean 'dead-letter list'?"),
    (["helpp"], "there is no command 'helpp'; did you mean 'help'?"),
    (["frobnicate"], "there is no command 'frobnicate'\n`sluice help` lists the commands"),
    (["replay"], "there is no command 'replay'"), (["bench"], "there is no command 'bench'"),
    (["help", "tial"], "did you mean 'tail'?"),
    (["dead-letter"], "which one?\n  sluice dead-letter list"),
    (["run", "--relay.attempt_max=3"],
     "unknown flag '--relay.attempt_max'; did you mean '--relay.attempts_max'?"),
    (["tail", "--topci", "t"], "unknown flag '--topci'; did you mean '--topic'?"),
    (["run", "-x"], "unknown flag '-x'; flags begin with two dashes"),
    (["run", "--config"], "--config needs a value: --config FILE"),
    (["run", "--config", "a", "--config", "b"], "--config is there twice; give it once"),
    (["run", "--broker"], "--broker needs a value: --broker=VALUE"),
    (["tail", "--topic"], "--topic needs a value: --topic TOPIC"),
    (["tail", "--json=1"], "--json takes no value"),
    (["tail", "--json", "--json"], "--json is there twice; give it once"),
    (["run", "app.yaml"], "'app.yaml' is one too much; name the file with --config FILE"),
    (["tail"], "name the topic with --topic TOPIC"),
    (["tail", "--topic", "a b"], "'a b' is no topic: 1 to 249 of A-Z a-z 0-9 . _ -"),
    (["tail", "--topic", "t", "--from", "later"], "--from takes start, end, a time"),
    (["tail", "--topic", "t", "--from", "2026-02-30T00:00:00Z"], "--from takes start, end, a time"),
    (["config", "lint"], "which file? name it with --config FILE"),
    (["dead-letter", "show"], "name one event by its id"),
    (["dead-letter", "list", "--limit", "0"], "--limit takes a whole number from 1 on, not '0'"),
    (["dead-letter", "redrive"], "choose either by ids, or by --key KEY, or --all"),
    (["dead-letter", "redrive", "x", "--all"], "choose either by ids, or by --key KEY, or --all"),
    (["dead-letter", "drop", "--all"], "dropped events are gone for good; add --yes to mean it"),
    (["dev", "--config", "x"], "it needs no config; for one's own database and routes"),
    (["dev", "--database", "sqlite:x"], "it brings its own database; choose the folder with --data"),
])
def test_wrong_use_is_told_with_the_way_out(words: list[str], wanted: str) -> None:
    said = fails(*words, status=2)
    assert wanted in said


def test_output_that_cannot_be_written_is_a_failure() -> None:
    done = sluice("help", prefix=["sh", "-c", 'exec "$0" "$@" > /dev/full'])
    assert done.returncode == 1
    assert done.stderr == "sluice: cannot write to stdout: No space left on device\n"


def test_a_reader_that_goes_away_is_no_failure() -> None:
    done = sluice("help", prefix=["sh", "-c", '{ "$0" "$@"; echo "status $?" >&2; } | true'])
    assert done.stderr == "status 0\n"


def test_the_reference_pages_are_current() -> None:
    done = subprocess.run([ROOT / "tools/reference", "--check"], capture_output=True, text=True,
                          env={**os.environ, "SLUICE_BUILD": str(BUILD)})
    assert (done.returncode, done.stderr) == (0, "")

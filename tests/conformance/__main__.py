"""The JSON:API score, then schemathesis: `python -m tests.conformance`, or `make conformance`.

Without `--base-url` it starts the system in both naming modes and asks every service directly
and through the gateway. With it, it asks what runs there; new accounts must be verified at once.
schemathesis follows where the whole score was asked for, on a system of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.errors import DevError
from dev.folders import ROOT
from tests.conformance.score import ITEMS, Outcomes, is_perfect, is_without_failure, table
from tests.conformance.systems import running_targets
from tests.conformance.target import SERVICES, Target, write_targets
from tests.openapi.fuzz import FUZZED, MAX_EXAMPLES, SEED, fuzz

FOLDER = "tests/conformance"


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Our options, and the rest for pytest."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description=__doc__,
        epilog="Anything else goes to pytest: -k test_040, -x, --tb=short.",
    )
    parser.add_argument("--base-url", help="a running service or gateway")
    parser.add_argument("--target", choices=sorted(SERVICES), default="events")
    parser.add_argument("--snake-case", action="store_true", help="it runs without DASHERIZE_API")
    parser.add_argument(
        "--admin-token", default="", help="of an administrator, whom the events service needs"
    )
    for name in ("auth", "events", "faq"):
        parser.add_argument(f"--{name}-url", help=f"the {name} service, if it is elsewhere")
    return parser.parse_known_args()


def given_target(arguments: argparse.Namespace) -> Target:
    base = arguments.base_url.rstrip("/")
    others = {
        f"{name}_url": (getattr(arguments, f"{name}_url") or base).rstrip("/")
        for name in ("auth", "events", "faq")
    }
    others["admin_token"] = arguments.admin_token
    name = f"{arguments.target} / {base}"
    return Target(name, arguments.target, not arguments.snake_case, base, **others)


def run(groups: list[list[Target]], options: list[str]) -> dict[str, Outcomes]:
    """A pytest process for each group of targets, all at once; the outcomes of every target."""
    print(f"Asking {sum(map(len, groups))} targets …", flush=True)
    scores: dict[str, Outcomes] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            _start(group, Path(folder) / str(number), options)
            for number, group in enumerate(groups)
        ]
        for group, (process, score) in zip(groups, runs, strict=True):
            said, _ = process.communicate()
            if process.returncode or options:
                print(said, end="", flush=True)
            outcomes = json.loads(score.read_text()) if score.exists() else {}
            scores |= {target.name: outcomes.get(target.name, {}) for target in group}
    return scores


def _start(
    group: list[Target], folder: Path, options: list[str]
) -> tuple[subprocess.Popen[str], Path]:
    folder.mkdir()
    targets, score = folder / "targets.json", folder / "score.json"
    write_targets(group, targets)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conformance.plugin", "-q"]
    command += ["-p", "no:cacheprovider", "--confcutdir", FOLDER, "--no-header"]
    command += ["--targets", str(targets), "--score", str(score), *options, FOLDER]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return process, score


def score(arguments: argparse.Namespace, options: list[str]) -> bool:
    """Show the table; whether every target has all items, or passed those that were chosen."""
    if arguments.base_url:
        scores = run([[given_target(arguments)]], options)
    else:
        print("Starting the system in both naming modes …", flush=True)
        with running_targets() as groups:
            scores = run(groups, options)
    print("\n".join(table(scores)), flush=True)
    is_enough = is_without_failure if options else is_perfect
    content = sum(map(is_enough, scores.values()))
    wanted = "passed what was chosen" if options else f"have {ITEMS} of {ITEMS}"
    print(f"JSON:API score: {content} of {len(scores)} targets {wanted}", flush=True)
    return content == len(scores)


def main() -> None:
    arguments, options = parse()
    try:
        is_content = score(arguments, options)
        if options or arguments.base_url:
            print("schemathesis was left out: it runs after the whole score, or by `make fuzz`")
        else:
            # Also after a score with failures: one run says all that is wrong.
            is_clean = fuzz(FUZZED, seed=SEED, max_examples=MAX_EXAMPLES)
            print(f"conformance: the score {_word(is_content)}, schemathesis {_word(is_clean)}")
            is_content = is_content and is_clean
    except DevError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    sys.exit(not is_content)


def _word(is_content: bool) -> str:
    return "passed" if is_content else "FAILED"


if __name__ == "__main__":
    main()

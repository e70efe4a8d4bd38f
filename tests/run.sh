#!/usr/bin/env bash
# Every test, and at the end what did not pass, so that the last lines tell why. A test that hangs is stopped, named, and
# fails; it cannot hold up those after it.
set -uo pipefail
cd "$(dirname "$0")/.."

# Of one test program. The longest takes about two minutes on two cores.
limit=${TEST_PROGRAM_SECONDS_MAX:-1200}
log=target/test.log
mkdir -p target

cargo test --locked --no-fail-fast --config "target.'cfg(unix)'.runner = ['timeout', '--kill-after=10', '$limit']" "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

if [ "$status" -ne 0 ]; then
  ended=$(sed -nE 's/^test (.*) \.\.\. .*/\1/p' "$log")
  echo
  echo "tests: these did not pass:"
  sed -nE 's/^test (.*) \.\.\. FAILED$/  \1/p' "$log"
  # What libtest had said to be slow and never said to have ended.
  sed -nE 's/^test (.*) has been running for over .*/\1/p' "$log" | grep -Fvx -f <(printf '%s\n' "$ended") | sed 's/^/  did not end: /'
  grep -E '^error' "$log" | sed 's/^/  /'
fi
exit "$status"

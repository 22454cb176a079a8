#!/bin/sh
# A worker in a shell script: takes one task of type `curl.shout` from a DagNats server, and answers it.
#
#     sh examples/bridge/worker.sh http://127.0.0.1:8080
#
# Needs curl and sed. A task's id is all that has to be picked out of the answer; tools such as jq do the rest better.
set -eu

url=${1:-http://127.0.0.1:8080}

post() {
    curl --silent --show-error --fail-with-body --max-time 70 --header 'Content-Type: application/json' \
        ${DAGNATS_BRIDGE_TOKEN:+--header "Authorization: Bearer $DAGNATS_BRIDGE_TOKEN"} \
        --data "$2" "$url$1"
}

tasks=$(post /v1/tasks/poll '{"task_types": ["curl.shout"], "worker_id": "curl", "timeout_ms": 30000}')
id=$(printf '%s' "$tasks" | sed -n 's/.*"task_id":"\([^"]*\)".*/\1/p')
if [ -z "$id" ]; then
    echo "there is nothing to do"
    exit 0
fi

post "/v1/tasks/$id/resolve" '{"action": "checkpoint", "data": {"seen": true}}'
post "/v1/tasks/$id/resolve" '{"action": "load_checkpoint"}'
echo
word=$(printf '%s' "$tasks" | sed -n 's/.*"input":{"word":"\([A-Za-z ]*\)"}.*/\1/p' | tr '[:lower:]' '[:upper:]')
post "/v1/tasks/$id/resolve" "{\"action\": \"complete\", \"output\": \"$word!\"}"
echo "done: $word!"

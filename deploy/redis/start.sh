#!/bin/sh
# Starts Redis with a user for each of us, who may do what that one needs and nothing else:
#   service   jobs, results, rates; reads API keys, cannot write them
#   worker    jobs and results; knows nothing of API keys
#   operator  `ays keys` and `ays doctor`
#   default   PING, for health checks: whoever sends no password is this one
# Each password is in the environment, or in the file that AYS_REDIS_<USER>_PASSWORD_FILE names; what is written to AYS_REDIS_USERS
# is their SHA-256 only.
# Arguments go to redis-server. Works with Redis 7.0 and newer, and Valkey.
set -eu

# password NAME VALUE FILE
password() {
  value=$2
  if [ -n "$3" ]; then
    value=$(cat "$3") || { echo "$1_FILE: cannot read $3" >&2; exit 1; }
  fi
  [ -n "$value" ] || { echo "$1: received nothing; deploy/redis/passwords.sh makes one, $1_FILE names its file" >&2; exit 1; }
  printf '%s' "$value"
}

service=$(password AYS_REDIS_SERVICE_PASSWORD "${AYS_REDIS_SERVICE_PASSWORD:-}" "${AYS_REDIS_SERVICE_PASSWORD_FILE:-}")
worker=$(password AYS_REDIS_WORKER_PASSWORD "${AYS_REDIS_WORKER_PASSWORD:-}" "${AYS_REDIS_WORKER_PASSWORD_FILE:-}")
operator=$(password AYS_REDIS_OPERATOR_PASSWORD "${AYS_REDIS_OPERATOR_PASSWORD:-}" "${AYS_REDIS_OPERATOR_PASSWORD_FILE:-}")

users=${AYS_REDIS_USERS:-/run/redis-users.acl}
jobs='~ays:2:* ~rq:*'
work='-@all +@read +@write +@transaction +@connection +eval +evalsha +script|load +script|exists +time -@dangerous +info +acl|whoami'

hash() {
  printf '%s' "$1" | sha256sum | cut -d ' ' -f 1
}

umask 077
cat > "$users" <<END
user default on nopass resetkeys resetchannels -@all +ping
user service on #$(hash "$service") resetchannels &ays:2:* &rq:pubsub:* resetkeys $jobs %R~ays:keys:1 $work +publish +subscribe +waitaof
user worker on #$(hash "$worker") resetchannels &ays:2:* &rq:pubsub:* resetkeys $jobs $work +publish +@blocking +client|list
user operator on #$(hash "$operator") resetchannels resetkeys $jobs ~ays:keys:1 $work
END
unset AYS_REDIS_SERVICE_PASSWORD AYS_REDIS_WORKER_PASSWORD AYS_REDIS_OPERATOR_PASSWORD

exec redis-server --aclfile "$users" "$@"

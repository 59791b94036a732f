#!/bin/sh
# Prints new passwords of the Redis users, as lines of an environment file:
#   deploy/redis/passwords.sh >> .env && chmod 600 .env
set -eu
for user in SERVICE WORKER OPERATOR; do
  echo "AYS_REDIS_${user}_PASSWORD=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"
done

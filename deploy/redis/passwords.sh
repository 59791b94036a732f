#!/bin/sh
# Makes passwords for the Redis users, each in a file below secrets/ (or the folder that is given); those that are there stay.
# Containers run as users of their own, who have to read the files; the folder keeps everybody else on this host out.
set -eu
folder=${1:-$(dirname "$0")/../../secrets}
mkdir -p "$folder"
chmod 700 "$folder"
for user in service worker operator; do
  file=$folder/redis-$user-password
  [ -s "$file" ] || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file"
  chmod 444 "$file"
done

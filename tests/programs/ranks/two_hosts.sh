#!/usr/bin/env bash
# two_hosts.sh COMMAND...: runs a command on node0 of two hosts, node0 and node1, which have a cable between them, files in
# common, and no other network. They are namespaces of the user, so this needs no root.
# two_hosts.sh both COMMAND...: on both, as two ranks that torchrun or a user with four variables has started.
# two_hosts.sh on HOST COMMAND...: for a command on one of them, runs another one on HOST, as ssh does.
set -euo pipefail
if [ "$1" = on ]; then
  exec nsenter --net="/run/netns/$2" unshare --uts sh -c 'hostname "$0" && exec sh -c "$*"' "${@:2}"
fi
if [ "$1" = both ]; then
  export WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=node0 MASTER_PORT=29500
  exec "$0" "RANK=1 $0 on node1 ${*:2} & RANK=0 exec ${*:2}"
fi
if [ "${LAMINA_TWO_HOSTS:-}" != 1 ]; then
  export LAMINA_TWO_HOSTS=1
  exec unshare --user --map-root-user --mount --net "$0" "$@"
fi
mount -t tmpfs none /run
names=$(mktemp)
printf '127.0.0.1 localhost\n10.77.0.1 node0\n10.77.0.2 node1\n' >"$names"
mount --bind "$names" /etc/hosts
rm "$names"
ip netns add node0
ip netns add node1
ip link add cable0 netns node0 type veth peer name cable1 netns node1
for i in 0 1; do
  ip -n node$i link set lo up
  ip -n node$i addr add 10.77.0.$((i + 1))/24 dev cable$i
  ip -n node$i link set cable$i up
done
exec "$0" on node0 "$@"

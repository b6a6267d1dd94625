#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command as ranks on several "hosts" of this machine: network namespaces with a host name each, joined
# by a bridge, and a remote launch that really goes through the launcher's agent. Ranks talk over TCP alone.
#
#   netns.sh [--link-down HOST:SECONDS] [--hosts 3] ENGINE RANKS COMMAND...
#
# ENGINE is openmpi or mpich; rank i runs on host i modulo the number of hosts (h0, h1, ...). Exit code of
# the launcher; 77 where namespaces may not be created or the launcher is missing. Bytes that left each host are
# printed to stderr at the end. Variables OCTAVO_* reach all ranks. --link-down cuts a host off after some seconds.
#
# Everything lies in namespaces of this script, the processes in one of pids: however it ends, nothing stays.
set -euo pipefail

usage() {
  sed -n 's/^#   //p' "$0" >&2
  exit 2
}

if [ "${1:-}" != --inside ]; then
  privileges=()
  [ "$(id -u)" -eq 0 ] || privileges=(--user --map-root-user)
  unshare=(unshare "${privileges[@]}" --net --mount --uts --pid --fork --kill-child --mount-proc)
  if ! "${unshare[@]}" mount -t tmpfs tmpfs /run 2>/dev/null; then
    echo "netns.sh: may not create namespaces here" >&2
    exit 77
  fi
  exec "${unshare[@]}" "$0" --inside "$@"
fi
shift

hosts=3 link_down=""
while [[ ${1:-} == --* ]]; do
  case $1 in
    --hosts) hosts=$2 ;;
    --link-down) link_down=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[ $# -ge 3 ] || usage
engine=$1 ranks=$2
shift 2
command -v "mpirun.$engine" >/dev/null || { echo "netns.sh: no mpirun.$engine" >&2; exit 77; }

# The sessions of launchers go by host name and pid, which other rigs have too.
mount -t tmpfs tmpfs /run
mkdir /run/tmp
export TMPDIR=/run/tmp

cp /etc/hosts /run/hosts
ip link add bridge0 type bridge
ip link set bridge0 up
for ((i = 0; i < hosts; ++i)); do
  echo "10.77.0.$((10 + i)) h$i" >>/run/hosts
  ip netns add "h$i"
  ip link add "to_h$i" type veth peer name eth0 netns "h$i"
  ip link set "to_h$i" master bridge0 up
  ip -n "h$i" addr add "10.77.0.$((10 + i))/24" dev eth0
  ip -n "h$i" link set eth0 up
  ip -n "h$i" link set lo up
done
mount --bind /run/hosts /etc/hosts

# Instead of ssh: agent HOST COMMAND...
cat >/run/agent <<'AGENT'
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1
shift
exec nsenter --net="/run/netns/$host" unshare --uts /bin/sh -c "hostname $host; $*"
AGENT
chmod +x /run/agent

count=()
for ((i = 0; i < ranks; ++i)); do count[i % hosts]=$((${count[i % hosts]:-0} + 1)); done
places=""
for i in "${!count[@]}"; do places+="${places:+,}h$i:${count[i]}"; done

launch=()
case $engine in
  openmpi)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    # Without keepalives mpirun waits for the daemon of an unreachable host for 8 minutes.
    launch=(mpirun.openmpi --mca plm_rsh_agent /run/agent --mca btl "tcp,self" --mca oob_tcp_if_include eth0
            --mca btl_tcp_if_include eth0 --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1
            --mca oob_tcp_keepalive_probes 2 --oversubscribe --bind-to none --host "$places" -n "$ranks")
    while IFS='=' read -r name _; do [[ $name == OCTAVO_* ]] && launch+=(-x "$name"); done < <(env)
    ;;
  mpich)
    # One kernel, so shared memory and addresses of other interfaces would connect "hosts" too.
    export MPIR_CVAR_NOLOCAL=1 UCX_TLS=tcp,self UCX_NET_DEVICES=eth0
    launch=(mpirun.mpich -launcher rsh -launcher-exec /run/agent -iface eth0 -hosts "$places" -n "$ranks")
    ;;
  *) usage ;;
esac

if [ -n "$link_down" ]; then
  (
    sleep "${link_down#*:}"
    echo "netns.sh: link of h${link_down%%:*} goes down" >&2
    ip link set "to_h${link_down%%:*}" down
  ) &
fi

code=0
nsenter --net=/run/netns/h0 unshare --uts /bin/sh -c 'hostname h0; exec "$@"' sh "${launch[@]}" "$@" || code=$?
for ((i = 0; i < hosts; ++i)); do
  echo "netns.sh: h$i sent $(ip -s -j link show "to_h$i" | sed -E 's/.*"rx":\{"bytes":([0-9]+).*/\1/') bytes" >&2
done
exit "$code"

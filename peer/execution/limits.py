"""Bounds of a sandboxed runner, each with its unit. The protocol's own are in `protocol/limits.py`."""

from protocol.limits import MIB

# Files inside the sandbox: /tmp and /dev/shm are memory, so they are small.
TMP_BYTES_MAX = 256 * MIB
SHARED_MEMORY_BYTES_MAX = 64 * MIB
FILE_BYTES_MAX = 256 * MIB
OPEN_FILES_MAX = 256

# Processes and threads of the job in one sandbox, the runner included.
PROCESSES_MAX = 64
# Libraries map far more address space than they use: room on top of the job's memory limit.
ADDRESS_SPACE_EXTRA_BYTES = 1024 * MIB
# The last line of defence should the peer itself stand still; time-outs come long before.
CPU_S_MAX = 86_400

# How often a runner that takes longer than this is looked at (memory, processes, progress, output).
POLL_INTERVAL_S = 0.05
LOAD_TIMEOUT_S = 60.0
START_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 5.0
LOG_READ_BYTES_MAX = 1 * MIB

# User ids that no distribution hands out (systemd's UIDS-GIDS page): one for each sandbox when the peer runs as root.
SANDBOX_UID_FIRST = 1_879_048_192
SANDBOX_UIDS_PER_PEER = 4096
SANDBOX_PEERS_MAX = 65_000
SANDBOX_UIDS = SANDBOX_UIDS_PER_PEER * SANDBOX_PEERS_MAX
# Inside a user namespace of its own, any number serves.
SANDBOX_UID_MAPPED = 65_534

# Where the sandbox's folder is one of the disk, nothing but looking at it bounds it.
FOLDER_ENTRIES_MAX = 4096
FOLDER_PATH_LENGTH_MAX = 2048
# What a job must leave of the disk, whatever it does; it takes some hundred MiB between two looks.
FREE_DISK_BYTES_MIN = 512 * MIB
FREE_DISK_FILES_MIN = 50_000

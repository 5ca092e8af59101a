"""Modules for the tests of the wasm runtime, in the text format."""

_IMPORTS = {
    "fd_read": "i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "fd_close": "i32",
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "args_get": "i32 i32",
    "args_sizes_get": "i32 i32",
    "random_get": "i32 i32",
    "clock_time_get": "i32 i64 i32",
    "clock_res_get": "i32 i32",
    "poll_oneoff": "i32 i32 i32 i32",
    "path_create_directory": "i32 i32 i32",
    "path_symlink": "i32 i32 i32 i32 i32",
}


def module(body: str, *, pages: int = 2, more: str = "") -> str:
    """A command that runs `body` (with the locals $n, $i). `$print at size` writes to standard output, `$put n` keeps
    and `$say` prints a number as 4 bytes. Bytes 0 to 15 are for vectors, 16 to 19 for lengths; data begins at 1024.
    """
    imports = "\n".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {kinds}) (result i32)))'
        for name, kinds in _IMPORTS.items()
    )
    return f"""(module
        {imports}
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") {pages})
        {more}
        (func $write (param $fd i32) (param $at i32) (param $size i32) (result i32)
            (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
            (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16)))
        (func $print (param $at i32) (param $size i32)
            (drop (call $write (i32.const 1) (local.get $at) (local.get $size))))
        (func $say (param $number i32)
            (i32.store (i32.const 24) (local.get $number)) (call $print (i32.const 24) (i32.const 4)))
        (func $read (param $fd i32) (param $at i32) (param $size i32) (result i32)
            (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
            (drop (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16)))
            (i32.load (i32.const 16)))
        (func (export "_start") (local $n i32) (local $i i32) {body}))"""


ECHO = module("""
    (block $end (loop $more
        (local.set $n (call $read (i32.const 0) (i32.const 1024) (i32.const 60000)))
        (br_if $end (i32.eqz (local.get $n)))
        (call $print (i32.const 1024) (local.get $n))
        (br $more)))""")

ARGUMENTS = module("""
    (drop (call $args_sizes_get (i32.const 32) (i32.const 36)))
    (drop (call $args_get (i32.const 2048) (i32.const 4096)))
    (call $print (i32.const 4096) (i32.load (i32.const 36)))""")

CHANCE_AND_TIME = module("""
    (drop (call $random_get (i32.const 1024) (i32.const 16)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 1040)))
    (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 1048)))
    (drop (call $clock_res_get (i32.const 1) (i32.const 1056)))
    (call $print (i32.const 1024) (i32.const 40))""")

SLEEP_AN_HOUR = module("""
    (i32.store (i32.const 1024) (i32.const 77))
    (i32.store (i32.const 1040) (i32.const 1))
    (i64.store (i32.const 1048) (i64.const 3600000000000))
    (call $say (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 2080)))
    (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 2088)))
    (call $print (i32.const 2048) (i32.const 48))""")

WILD_ADDRESSES = module("""
    (call $say (call $random_get (i32.const 131072) (i32.const 1)))
    (call $say (call $random_get (i32.const 0) (i32.const -1)))
    (call $say (call $random_get (i32.const -4) (i32.const 8)))
    (call $say (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 131066)))
    (call $say (call $clock_time_get (i32.const 9) (i64.const 1) (i32.const 0)))
    (call $say (call $poll_oneoff (i32.const 131000) (i32.const 0) (i32.const 100) (i32.const 0)))
    (call $say (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)))""")

COPY = module(
    """
    (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 8) (i32.const 0)
        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))
    (drop (call $path_open (i32.const 4) (i32.const 0) (i32.const 1040) (i32.const 8) (i32.const 1)
        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 36)))
    (block $end (loop $more
        (local.set $n (call $read (i32.load (i32.const 32)) (i32.const 2048) (i32.const 60000)))
        (br_if $end (i32.eqz (local.get $n)))
        (drop (call $write (i32.load (i32.const 36)) (i32.const 2048) (local.get $n)))
        (br $more)))""",
    more='(data (i32.const 1024) "clip.mp4") (data (i32.const 1040) "copy.bin")',
)


def opening(path: str, *, create: bool = False, fd: int = 3) -> str:
    """A module that prints the error number of opening a path below a preopened folder, to read or to write."""
    rights, flags = (64, 1) if create else (2, 0)
    return module(
        f"""(call $say (call $path_open (i32.const {fd}) (i32.const 1) (i32.const 1024) (i32.const {len(path)})
            (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 32)))""",
        more=f'(data (i32.const 1024) "{path}")',
    )


def nesting(depth: int) -> str:
    """A module that makes folders within one another in its output, and says when one could not be made."""
    return module(
        f"""(local.set $n (i32.const 3))
        (loop $deeper
            (if (call $path_create_directory (local.get $n) (i32.const 1024) (i32.const 1))
                (then (call $say (i32.const 1))))
            (drop (call $path_open (local.get $n) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 2)
                (i64.const 0x600) (i64.const 0x600) (i32.const 0) (i32.const 32)))
            (if (i32.ne (local.get $n) (i32.const 3)) (then (drop (call $fd_close (local.get $n)))))
            (local.set $n (i32.load (i32.const 32)))
            (br_if $deeper (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {depth}))))""",
        more='(data (i32.const 1024) "d")',
    )

"""The confined process: limits first, then a request on standard input, then a verdict.

    python -I -m chimera.workers.inspection MEMORY_BYTES CPU_S PARENT_PID

Nothing is imported that reads a stranger's bytes before the limits hold.
"""

import sys

from chimera.workers.inspection.confinement import confine


def main() -> None:
    memory_bytes, cpu_s, parent_pid = map(int, sys.argv[1:4])
    confine(memory_bytes, cpu_s, parent_pid)
    from chimera.workers.inspection.verdicts import judged

    sys.stdout.buffer.write(judged(sys.stdin.buffer.read()))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
